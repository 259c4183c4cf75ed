# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second run of the playbook changes nothing and is quick."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
from firehose_testing.fixtures import PROJECT, Firehoses
from firehose_testing.public import public_units

# The time of a run depends on the number of tasks that connect to the host. There is one more for each public broker.
MOST_TASKS = 28


class Rerun:
    """A run of the playbook on hosts that are already set up."""

    def __init__(self, folder: pathlib.Path) -> None:
        file = folder / "host_tasks.json"
        playbook = [PROJECT / "playbooks/firehose.yml", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
        settings = {
            "ANSIBLE_CALLBACK_PLUGINS": PROJECT / "tests/callback_plugins",
            "ANSIBLE_CALLBACKS_ENABLED": "host_tasks",
            "HOST_TASKS_FILE": file,
        }
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        subprocess.run(["ansible-playbook", *playbook], cwd=PROJECT, env=environment, check=True)
        self.hosts = json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rerun(tmp_path_factory: pytest.TempPathFactory) -> Rerun:
    return Rerun(tmp_path_factory.mktemp("rerun"))


def test_a_second_run_changes_nothing(firehoses: Firehoses, rerun: Rerun) -> None:
    assert {name: host["changed"] for name, host in rerun.hosts.items()} == {name: [] for name in firehoses}


def test_few_tasks_reach_the_host(firehoses: Firehoses, rerun: Rerun, name: str) -> None:
    assert len(firehoses[name].publishers) == 40
    reached = rerun.hosts[name]["reached"]
    assert 0 < len(reached) <= MOST_TASKS + len(public_units(firehoses[name].host)), "\n".join(reached)


@pytest.mark.usefixtures("rerun")
def test_ansible_printed_no_warning() -> None:
    log = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.log").read_text(encoding="utf-8")
    for playbook in ("Create", "Prepare the subscriber", "Set up the core host"):
        assert f"PLAY [{playbook}]" in log
    assert [line for line in log.splitlines() if "WARNING]" in line] == []
