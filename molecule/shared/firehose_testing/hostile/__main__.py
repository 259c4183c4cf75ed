# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one attack: `python3 -m firehose_testing.hostile`."""

from __future__ import annotations

from . import attack, attacks  # noqa: F401 (registers them)

attack.main()
