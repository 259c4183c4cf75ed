# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A valid change takes effect. A reload disconnects no client; only a restart does."""

from __future__ import annotations

import pytest
from firehose_testing.changes.change import RESTART, Change
from firehose_testing.changes.good import GOOD
from firehose_testing.changes.plugin import Changes, chosen


@pytest.mark.parametrize("change", chosen(GOOD))
def test_a_valid_change_takes_effect(changes: Changes, change: Change) -> None:
    for name, outcome in changes.make(change).items():
        assert not outcome.failed, (name, outcome.said)
        assert outcome.action == change.action, (name, outcome.said)
        assert bool(outcome.losses) == (change.action == RESTART), (name, outcome.losses)
        assert outcome.opened == [], name
