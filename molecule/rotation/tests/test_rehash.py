# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of known passwords can be renewed, and all passwords remain valid."""

from __future__ import annotations

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, WAYS, Way
from firehose_testing.fixtures import Firehoses
from firehose_testing.rotation import AFTER, AFTER_FILE, State, Story, own_topics, reached, state
from firehose_testing.runs import Run, run_playbook

PASSWORDS = "/etc/mosquitto/passwd"


@pytest.fixture(scope="module")
def rehashed(story: Story, firehoses: Firehoses) -> tuple[Run, dict[str, State], dict[str, State]]:
    """A run that requests other hashes, and the state of each host before and after it."""
    before = firehoses.each(state)
    variables = ["--extra-vars", f"@{AFTER_FILE}"]
    variables += ["--extra-vars", '{"mosquitto_rehash": true, "mosquitto_hash_iterations": 2000}']
    run = run_playbook("--diff", "-vvv", *variables)
    return run, before, firehoses.each(state)


def lines(seen: State) -> dict[str, str]:
    return dict(line.split(":") for line in seen.files[PASSWORDS].splitlines())


Rehashed = tuple[Run, dict[str, State], dict[str, State]]


def test_known_passwords_get_a_new_hash(rehashed: Rehashed, name: str) -> None:
    run, before, after = rehashed
    assert [task.rpartition(" : ")[2] for task in run.changed[name]] == [
        "Write the accounts",
        "Start, reload or restart the brokers",
    ]
    old, new = lines(before[name]), lines(after[name])
    assert {account for account, line in new.items() if line.startswith("$7$2000$")} == old.keys() - {"hashed"}
    assert new["hashed"] == old["hashed"]
    assert after[name].processes == before[name].processes


def test_the_output_shows_no_secret(rehashed: Rehashed) -> None:
    output = rehashed[0].output
    assert "+zuul (another hash)" in output
    assert "only-for-tests" not in output
    assert "$7$" not in output


@pytest.mark.usefixtures("rehashed")
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
@pytest.mark.parametrize("account", AFTER)
def test_every_password_works(firehoses: Firehoses, way: Way, account: str) -> None:
    known = AFTER[account]
    assert firehoses.each(lambda host: reached(host, known, way)) == dict.fromkeys(firehoses, own_topics(known))


def test_no_client_was_disconnected(story: Story, rehashed: Rehashed) -> None:
    for subscribers in story.public.values():
        assert [subscriber.ended for subscriber in subscribers] == [None] * len(WAYS)
    for connected in story.connected.values():
        for way in ACCOUNT_WAYS:
            connected["ci", way].publish("ci/later", "")
