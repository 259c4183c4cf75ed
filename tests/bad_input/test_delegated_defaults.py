# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defaults of variables refer to the host of the play, even if a task is delegated to another host."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

HOSTS = {"core.example.org": {}, "address.example.org": {"ansible_host": "192.0.2.1"}}
ROLES = Path(__file__).parents[2] / "roles"


@pytest.mark.parametrize("name", ["firehose", "firehose_public"])
def test_defaults_refer_to_the_play_host_in_delegated_tasks(name, tmp_path):
    """With `delegate_to`, Ansible sets connection variables, such as `ansible_host`, to those of the other host."""
    defaults = yaml.safe_load((ROLES / name / "defaults/main.yml").read_text(encoding="utf-8"))
    inventory, playbook = tmp_path / "hosts.json", tmp_path / "playbook.json"
    inventory.write_text(json.dumps({"firehose": {"hosts": HOSTS}}), encoding="utf-8")
    task = {
        "ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.vars', item) }}"},
        "loop": sorted(key for key, value in defaults.items() if "{{" in str(value)),
        "ignore_errors": True,  # some defaults need variables that only the role itself has
    }
    play = {"hosts": "firehose", "gather_facts": False, "connection": "local", "vars": defaults}
    tasks = [task, {**task, "delegate_to": "localhost"}]
    playbook.write_text(json.dumps([{**play, "tasks": tasks}]), encoding="utf-8")
    settings = {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        "ANSIBLE_LOG_PATH": "/dev/null",
    }
    run = subprocess.run(
        ["ansible-playbook", playbook, "--inventory", inventory],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    [found] = json.loads(run.stdout[run.stdout.index("{\n") :])["plays"]
    own, delegated = (
        {(host, item["item"]): item.get("msg") for host, result in task["hosts"].items() for item in result["results"]}
        for task in found["tasks"]
    )
    assert delegated == own
    assert {host for host, _name in own} == set(HOSTS)
    if name == "firehose":
        assert own["core.example.org", "firehose_verify_host"] == "core.example.org"
        assert own["address.example.org", "firehose_verify_host"] == "192.0.2.1"
