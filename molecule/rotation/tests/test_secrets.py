# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password and no hash is in Ansible's output, in a host's journal, or in arguments or environments of its processes."""

from __future__ import annotations

import pytest
from firehose_testing.fixtures import Firehoses
from firehose_testing.rotation import AFTER, AFTER_FILE, BEFORE, Story
from firehose_testing.rotation import SECRET_MARKS as MARKS

MODULE = "opendev.firehose.mosquitto_users"


def hashes(story: Story) -> set[str]:
    """The digests of all hashes that were ever in a password file."""
    files = [state.files["/etc/mosquitto/passwd"] for states in story.states.values() for state in states]
    return {line.rpartition("$")[2] for file in files for line in file.splitlines()}


def found(story: Story, text: str) -> list[str]:
    return [secret for secret in [*MARKS, *hashes(story)] if secret in text]


def test_the_search_terms_are_in_the_passwords_and_hashes(story: Story) -> None:
    assert all((account.password or "").startswith(MARKS[0]) for account in [*BEFORE.values(), *AFTER.values()])
    # On each of the three hosts: 6 publishers, a reader and the account of the public brokers. 3 get a new or a first
    # password. One hash is the same everywhere.
    assert len(hashes(story)) == 3 * (6 + 1 + 1 - 1 + 3) + 1
    assert found(story, AFTER_FILE.read_text(encoding="utf-8"))[:2] == MARKS


@pytest.mark.parametrize("which", ["predicted", "run", "repeated"])
def test_the_output_has_no_secret(story: Story, which: str) -> None:
    output = getattr(story, which).output
    assert '"module_args"' in output
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert found(story, output) == []


@pytest.mark.parametrize("which", ["predicted", "run"])
def test_the_output_names_accounts_with_a_new_password(story: Story, which: str) -> None:
    output = getattr(story, which).output
    for line in ("+germqtt (another password)", "+zuul (another password)", "-lpmqtt", "+nodepool"):
        assert output.count(f"\n{line}\n") >= len(story.states), line


def test_the_journal_has_no_secret(story: Story, firehoses: Firehoses, name: str) -> None:
    journal = firehoses[name].host.check_output("journalctl --namespace=* --no-pager")
    assert f"ansible-{MODULE}" in journal
    assert found(story, journal) == []


def test_no_process_has_a_secret_in_arguments_or_environment(story: Story, name: str) -> None:
    control = [said for part, said in story.exposed[name] if f"{MARKS[0]}-control" in said]
    assert control, "the sampler finds nothing"
    assert [entry for entry in story.exposed[name] if f"{MARKS[0]}-control" not in entry[1]] == []
