# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenario change is made of: changes as data, the crowd that is connected meanwhile, and what became of it."""
