# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have pytest import the plugin behind the fixtures that it imports."""

from __future__ import annotations

pytest_plugins = ["firehose_testing.upgrade"]
