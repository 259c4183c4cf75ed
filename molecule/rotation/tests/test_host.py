# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that the runs make on a host. Nothing else changes."""

from __future__ import annotations

import pathlib

import pytest
from firehose_testing.clients import PahoSubscriber
from firehose_testing.fixtures import Firehoses
from firehose_testing.gerrit import Gerrit
from firehose_testing.rotation import FILES, TCP, Story

PASSWORDS, RULES, FEED = FILES

# The account of the public brokers
RELAY = "firehose-relay"
WRITTEN = ["Write the accounts", "Write the ACL rules"]
RELOADED = "Start, reload or restart the brokers"
FEED_WRITTEN = "Write the keys, the configuration and the unit"
FEED_RESTARTED = "Start or restart germqtt"
# The copies that the broker reads, and the link to them.
BROKERS_OWN = ("/etc/mosquitto/sets", "/etc/mosquitto/live")


def short(tasks: list[str]) -> list[str]:
    """Names of tasks without the names of their roles."""
    return [task.rpartition(" : ")[2] for task in tasks]


def files_of(name: str, feeds: set[str]) -> list[str]:
    return [PASSWORDS, RULES, *[FEED] * (name in feeds)]


def test_only_the_necessary_tasks_change_the_host(story: Story, feeds: set[str], name: str) -> None:
    assert short(story.run.changed[name]) == [*WRITTEN, RELOADED, *[FEED_WRITTEN, FEED_RESTARTED] * (name in feeds)]


def test_check_mode_predicts_the_written_files_and_changes_nothing(story: Story, feeds: set[str], name: str) -> None:
    # Check mode does not report that unwritten files would have to be reloaded.
    assert short(story.predicted.changed[name]) == [*WRITTEN, *[FEED_WRITTEN] * (name in feeds)]
    before, after, *_later = story.states[name]
    assert after.touched == set()
    assert (after.files, after.owners, after.services, after.processes) == (
        before.files,
        before.owners,
        before.services,
        before.processes,
    )


def test_the_next_run_changes_nothing(story: Story, name: str) -> None:
    assert story.repeated.changed[name] == []
    *_earlier, before, after = story.states[name]
    assert after.touched == set()
    assert (after.files, after.services, after.processes) == (before.files, before.services, before.processes)


def test_no_other_file_is_changed(story: Story, feeds: set[str], name: str) -> None:
    _before, _check, after, _repeat = story.states[name]
    files = {pathlib.Path(path) for path in files_of(name, feeds)}
    # Replacing a file changes its directory.
    assert {path for path in after.touched if not path.startswith(BROKERS_OWN)} == {
        str(path) for path in files | {path.parent for path in files}
    }


def test_files_keep_owners_and_modes(story: Story, feeds: set[str], name: str) -> None:
    before, _check, after, _repeat = story.states[name]
    assert sorted(after.owners) == sorted(files_of(name, feeds))
    assert after.owners == before.owners
    assert after.owners[PASSWORDS] == after.owners[RULES] == "root root 600"


def test_other_accounts_keep_their_lines(story: Story, name: str) -> None:
    before, _check, after, _repeat = (
        dict(line.split(":") for line in state.files[PASSWORDS].splitlines()) for state in story.states[name]
    )
    kept = {account for account, line in before.items() if after.get(account) == line}
    assert kept == {"ansible", "ci", "hashed", "statistics", RELAY}
    assert set(after) == {*kept, "germqtt", "zuul", "nodepool"}
    assert before["hashed"].startswith("$7$1000$")


def test_only_germqtt_is_restarted(story: Story, feeds: set[str], name: str) -> None:
    before, _check, after, _repeat = story.states[name]
    assert before.processes["mosquitto.service"] != "0"
    changed = {unit for unit, process in after.processes.items() if before.processes.get(unit) != process}
    assert changed == {"germqtt.service"} & before.processes.keys()
    assert ("germqtt.service" in changed) == (name in feeds)
    assert after.services == before.services


@pytest.mark.usefixtures("story")
def test_the_feed_continues(firehoses: Firehoses, feeds: set[str], gerrit: Gerrit) -> None:
    assert feeds
    for name in feeds:
        with PahoSubscriber(firehoses[name].address, TCP) as subscriber:
            gerrit.wait_until_heard([subscriber])
