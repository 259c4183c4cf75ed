# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error that a configuration cannot be applied, with a message for the operator."""


class Problem(Exception):
    """The configuration cannot be applied. The broker keeps its previous one."""
