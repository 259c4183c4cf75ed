# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An invalid change fails, names the cause, and leaves everything as it was."""

from __future__ import annotations

import re

import pytest
from firehose_testing.changes.bad import BAD
from firehose_testing.changes.change import Change
from firehose_testing.changes.plugin import Changes, chosen


@pytest.mark.parametrize("change", chosen(BAD))
def test_an_invalid_change_fails_and_changes_nothing(changes: Changes, change: Change) -> None:
    for name, outcome in changes.make(change).items():
        assert outcome.failed, name
        assert re.search(change.cause, outcome.said), (name, outcome.said)
        assert not outcome.losses, (name, outcome.losses)
        assert outcome.opened == [], name
        assert outcome.action == "", (name, outcome.action)
        assert outcome.files[0] == outcome.files[1], name
