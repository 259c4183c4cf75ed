# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a configuration from being taken, in words for whoever runs the command."""


class Problem(Exception):
    """The configuration cannot be taken. The broker goes on with what it had."""
