# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example in the documentation of modules and filters runs unchanged, in check mode and live, without a warning."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import testinfra
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
USERS = yaml.safe_load((SCENARIO / "group_vars/broker.yml").read_text(encoding="utf-8"))["mosquitto_users"]
PLUGINS = sorted(PROJECT.glob("plugins/modules/*.py")) + sorted(PROJECT.glob("plugins/filter/*.py"))
# Examples that change accounts and rules run last, when no other example needs them.
PLUGINS.sort(key=lambda path: (path.stem in ("mosquitto_acls", "mosquitto_users"), path.stem == "systemd_current"))

# Variables that the examples use without a definition.
VARIABLES = {
    **{f"vault_{user['name']}_mqtt_password": user["password"] for user in USERS},
    "vault_probe_mqtt_password": "only-for-tests-probe",
    "vault_statistics_mqtt_hash": (
        "$7$1000$bm90IGEgc2VjcmV0$d5fheKbpBlau1cYFz5p30mVlZAJiYKX/KUHbdRDfFnd7pVphfwvvv9+8kvsmFVfwquCYneCx7CqvN52ywvGnwg=="
    ),
    "vault_germqtt_ssh_private_key": "only for tests",
    "firehose_publishers": [{"name": "zuul", "password": "only-for-tests", "topics": ["zuul/#"]}],
    "firehose_readers": [{"name": "monitor", "password": "only-for-tests", "sys": ["broker/uptime"]}],
    "firehose_listeners": [{"port": 1883}, {"port": 1884, "bind_address": "127.0.0.1"}],
}


def constant(path: pathlib.Path, name: str) -> str:
    """The value that a plugin's source assigns to a name."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise LookupError(f"{path} has no {name}")


def examples(path: pathlib.Path) -> list[dict[str, t.Any]]:
    return yaml.safe_load(constant(path, "EXAMPLES"))


@pytest.fixture(scope="module")
def hosts() -> dict[str, testinfra.host.Host]:
    """The brokers' hosts by name. Changes that the examples make are undone at the end."""
    names = AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"]).get_hosts("broker")
    return {name: testinfra.get_host(f"docker://{name}") for name in names}


@pytest.fixture
def kept(hosts: dict[str, testinfra.host.Host]) -> t.Iterator[None]:
    for host in hosts.values():
        host.check_output("rm -rf /root/kept && cp -a /etc/mosquitto /root/kept")
    yield
    for host in hosts.values():
        host.check_output("cp -a /root/kept/. /etc/mosquitto && systemctl restart mosquitto")


def run(folder: pathlib.Path, hosts: dict[str, testinfra.host.Host], *options: str) -> subprocess.CompletedProcess[str]:
    """Run all examples in one playbook, with a play for each plugin."""
    package = folder / "files/events/events"
    package.mkdir(parents=True, exist_ok=True)
    (package / "cli.py").write_text("def main():\n    return 0\n", encoding="utf-8")
    addresses = {name: host.check_output("hostname -i") for name, host in hosts.items()}
    variables = {**VARIABLES, "address": "{{ addresses[inventory_hostname] }}", "addresses": addresses}
    plays = [
        {"name": path.stem, "hosts": "broker", "gather_facts": False, "vars": variables, "tasks": examples(path)}
        for path in PLUGINS
    ]
    playbook = folder / "examples.yml"
    # The control node cannot resolve the names that stand for the broker's host in the documentation.
    text = json.dumps(plays)
    for name, file in {"fullchain": "good", "privkey": "good-key"}.items():
        text = re.sub(rf"/etc/letsencrypt/live/[^/]+/{name}\.pem", f"/etc/mosquitto/test-certificates/{file}.pem", text)
    text = re.sub(r"(firehose01|mqtt)\.example\.org", "{{ address }}", text)
    playbook.write_text(text, encoding="utf-8")
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(playbook), *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def state(hosts: dict[str, testinfra.host.Host]) -> dict[str, str]:
    """The state of each host that the examples could change."""
    look = "cd /etc/mosquitto && stat --format '%n %a %U %Y' * && sha256sum acl passwd && systemctl show --property MainPID mosquitto"
    return {name: host.check_output(look) for name, host in hosts.items()}


def assert_all_ran(found: subprocess.CompletedProcess[str]) -> None:
    output = found.stdout + found.stderr
    assert found.returncode == 0, output
    assert "WARNING]" not in output, output
    for path in PLUGINS:
        assert f"PLAY [{path.stem}]" in found.stdout
    for task in (task for path in PLUGINS for task in examples(path)):
        for one in task.get("block", [task]):
            assert f"TASK [{one['name']}]" in found.stdout


def test_examples_in_check_mode(hosts: dict[str, testinfra.host.Host], tmp_path: pathlib.Path) -> None:
    before = state(hosts)
    assert_all_ran(run(tmp_path, hosts, "--check", "--diff"))
    assert state(hosts) == before


@pytest.mark.usefixtures("kept")
def test_examples_live(hosts: dict[str, testinfra.host.Host], tmp_path: pathlib.Path) -> None:
    before = state(hosts)
    assert_all_ran(run(tmp_path, hosts, "--diff"))
    after = state(hosts)
    assert [name for name in hosts if after[name] == before[name]] == []
