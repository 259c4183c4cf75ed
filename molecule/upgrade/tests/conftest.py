# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make pytest load the plugin that defines the imported fixtures."""

from __future__ import annotations

pytest_plugins = ["firehose_testing.upgrade"]
