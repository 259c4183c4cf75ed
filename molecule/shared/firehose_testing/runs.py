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
import typing as t

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])


@dataclasses.dataclass(frozen=True)
class Run:
    """The output of a run, and the tasks that reached or changed each host."""

    output: str
    reached: dict[str, list[str]]
    changed: dict[str, list[str]]


def causes(result: t.Mapping[str, t.Any]) -> list[str]:
    """The error messages of a task at a host, one for each item of a loop."""
    return [item["msg"] for item in result.get("results", [result]) if item.get("failed")]


def addresses(hosts: t.Mapping[str, str]) -> str:
    """Write an inventory with the addresses of containers, whose names do not resolve here; return its path."""
    path = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "addresses.json")
    known = {name: {"ansible_host": address, "ansible_docker_host": name} for name, address in hosts.items()}
    path.write_text(json.dumps({"all": {"hosts": known}}), encoding="utf-8")
    return str(path)


def try_playbook(name: str, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    """Run one of the collection's playbooks, which may fail. Returns all output."""
    command = ["ansible-playbook", f"playbooks/{name}.yml", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    return subprocess.run(
        [*command, *options, "--extra-vars", json.dumps(variables)],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_LOG_PATH": "/dev/null"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run_playbook(*options: str) -> Run:
    """Run playbooks/firehose.yml, which must succeed."""
    command = ["ansible-playbook", "playbooks/firehose.yml", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:
        settings = {
            "ANSIBLE_CONFIG": "ansible.cfg",
            "ANSIBLE_CALLBACK_PLUGINS": "tests/callback_plugins",
            "ANSIBLE_CALLBACKS_ENABLED": "host_tasks",
            "ANSIBLE_FORCE_COLOR": "false",  # Molecule sets it to true
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
