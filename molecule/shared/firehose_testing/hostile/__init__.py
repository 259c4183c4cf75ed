# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario hostile. Except for its pytest plugin, it runs in containers that have only Python."""
