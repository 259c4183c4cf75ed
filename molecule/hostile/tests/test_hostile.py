# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No attack by anonymous clients can publish, and no attack affects other clients."""

from __future__ import annotations

import functools
import operator

import pytest
from firehose_testing.hostile.attack import Attack
from firehose_testing.hostile.plugin import LONG, Battle
from firehose_testing.hostile.scoring import cost_failures, failures


def test_every_reader_reports_a_foreign_message(battle: Battle) -> None:
    """An account publishes a message that no reader expects. Each reader must report it."""
    assert battle.control().through == 1
    told = {record["who"] for record in battle.records if record["kind"] == "foreign"}
    assert told == {*battle.readers, "watcher"}


def test_an_attack_fails_and_affects_no_other_client(battle: Battle, attack: Attack) -> None:
    row = battle.fight(attack)
    assert row.tried >= (attack.least if LONG else 1)
    assert failures(row, battle.most_memory, strict=LONG) == []
    if attack.sources == 1:
        assert cost_failures(row, battle.rows[0].p99, strict=LONG) == []


@pytest.mark.parametrize(("name", "addresses"), [("flood of connections", 8), ("flood from one IPv6 network", 1)])
def test_connections_of_an_address_are_limited(battle: Battle, name: str, addresses: int) -> None:
    [row] = [row for row in battle.rows if row.attack == name]
    assert row.through == addresses * battle.source_connections


@pytest.mark.parametrize(
    ("username", "limit"), [("zuul", "messages"), ("monitor", "messages"), ("archive", "sessions")]
)
def test_the_log_names_an_account_that_exceeds_a_limit(battle: Battle, username: str, limit: str) -> None:
    assert (
        f"account {username} is {'rejected' if limit == 'sessions' else 'slowed down'}: {limit}" in battle.account_log()
    )


def test_new_clients_are_served_during_attacks(battle: Battle) -> None:
    """In all attacks together, on each transport."""
    by_transport = [row.newcomers for row in battle.rows]
    for transport in by_transport[0].keys() | by_transport[-1].keys():
        served = functools.reduce(operator.add, (one[transport] for one in by_transport if transport in one))
        assert served.enough, [
            record for record in battle.records if record["kind"] == "newcomer" and (record["seconds"] or 9) > 2
        ]
