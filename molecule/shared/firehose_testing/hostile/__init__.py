# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario hostile. But for its pytest plugin, all of it runs in containers that have nothing but Python."""
