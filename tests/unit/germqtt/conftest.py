# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the tests find the program that the role germqtt installs, and what they have in common."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
sys.path.insert(0, str(CHECKOUT / "roles/germqtt/files/program"))


@pytest.fixture(scope="session")
def stream_lines() -> list[bytes]:
    """A stream of events as Gerrit sends it."""
    return (CHECKOUT / "tests/fixtures/gerrit-events.jsonl").read_bytes().splitlines()
