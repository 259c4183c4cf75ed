# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario change: changes as data, the clients that are connected meanwhile, and the results."""
