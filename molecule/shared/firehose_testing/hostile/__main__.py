# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one attack: `python3 -m firehose_testing.hostile`."""

from __future__ import annotations

from .attacks import main

main()
