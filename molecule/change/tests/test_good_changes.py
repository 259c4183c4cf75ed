# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that a broker can take reaches it, and nobody is dropped for what a reload can bring."""

from __future__ import annotations

import pytest
from firehose_testing.changes.change import RESTART, Change
from firehose_testing.changes.good import GOOD
from firehose_testing.changes.plugin import Changes, chosen


@pytest.mark.parametrize("change", chosen(GOOD))
def test_a_good_change(changes: Changes, change: Change) -> None:
    for name, outcome in changes.make(change).items():
        assert not outcome.failed, (name, outcome.said)
        assert outcome.action == change.action, (name, outcome.said)
        assert bool(outcome.losses) == (change.action == RESTART), (name, outcome.losses)
        assert outcome.opened == [], name
