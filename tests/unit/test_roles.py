# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables in three places is the same: argument specs, defaults, README."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTS = {"core.example.org": {}, "address.example.org": {"ansible_host": "192.0.2.1"}}
TOOL = Path(__file__).parents[2] / "tools/role_tables.py"


@pytest.mark.parametrize("name", ["firehose", "firehose_edge", "germqtt", "mosquitto"])
def test_variables(roles, name):
    role = roles[name]
    options = {key: option for spec in role.specs.values() for key, option in spec["options"].items()}
    assert {key: option["default"] for key, option in options.items() if "default" in option} == role.defaults
    # An entry point takes the main one's variables, some of them, or others.
    entry_points = [spec["options"] for spec in role.specs.values()]
    assert all(own.items() <= role.options.items() or not set(own) & set(role.options) for own in entry_points)
    assert all(key.startswith(f"{name}_") for spec in role.specs.values() for key in spec["options"])


def test_readmes_are_as_make_tables_writes_them(roles):
    """It would write the tables of variables from the specs."""
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
    assert all("| `" in role.readme for role in roles.values())


def test_all_roles_are_looked_at(roles):
    assert sorted(roles) == ["firehose", "firehose_edge", "germqtt", "mosquitto"]


@pytest.mark.parametrize("name", ["firehose", "firehose_edge"])
def test_defaults_mean_the_play_host_in_delegated_tasks(roles, name, tmp_path):
    """With `delegate_to`, Ansible sets variables of the connection, such as `ansible_host`, to those of the other host."""
    inventory, playbook = tmp_path / "hosts.json", tmp_path / "playbook.json"
    inventory.write_text(json.dumps({"firehose": {"hosts": HOSTS}}), encoding="utf-8")
    task = {
        "ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.vars', item) }}"},
        "loop": sorted(key for key, value in roles[name].defaults.items() if "{{" in str(value)),
        "ignore_errors": True,  # some defaults need variables that only the role itself has
    }
    play = {"hosts": "firehose", "gather_facts": False, "connection": "local", "vars": roles[name].defaults}
    tasks = [task, {**task, "delegate_to": "localhost"}]
    playbook.write_text(json.dumps([{**play, "tasks": tasks}]), encoding="utf-8")
    settings = {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        "ANSIBLE_LOG_PATH": "/dev/null",
    }
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), playbook, "--inventory", inventory],
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
