# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the collection's playbook on the scenario's hosts."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run said, and which tasks reached or changed each host."""

    output: str
    reached: dict[str, list[str]]
    changed: dict[str, list[str]]


def run_playbook(*options: str) -> Run:
    """Run playbooks/firehose.yml, which has to work."""
    command = ["ansible-playbook", "playbooks/firehose.yml", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:
        settings = {
            "ANSIBLE_CONFIG": "ansible.cfg",
            "ANSIBLE_CALLBACK_PLUGINS": "tests/callback_plugins",
            "ANSIBLE_CALLBACKS_ENABLED": "host_tasks",
            "ANSIBLE_FORCE_COLOR": "false",  # Molecule's own is true
            "HOST_TASKS_FILE": file.name,
        }
        done = subprocess.run(
            [*command, *options],
            cwd=PROJECT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        hosts = json.load(file)
    return Run(done.stdout, *({name: tasks[what] for name, tasks in hosts.items()} for what in ("reached", "changed")))
