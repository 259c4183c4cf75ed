# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/existing-mosquitto.md: role mosquitto takes over a broker that was configured by hand, and back again."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest
import testinfra
import yaml
from firehose_testing.documents import example
from firehose_testing.fixtures import names_of
from testinfra.host import Host

PAGE = "docs/existing-mosquitto.md"
PLAY = [{"hosts": "all", "gather_facts": False, "become": False, "roles": ["opendev.firehose.mosquitto"]}]
BEFORE = "/etc/mosquitto/mosquitto.conf"


def mosquitto_sub(host: Host, account: str, topic: str) -> str:
    """The retained message of a topic, or why there is none."""
    options = f"-u {account} -P only-for-tests -t {topic} -C 1 -W 3"
    return host.run(f"mosquitto_sub {options} 2>&1").stdout.strip()


def mosquitto_pub(host: Host, account: str, topic: str, message: str) -> None:
    host.check_output(f"mosquitto_pub -u {account} -P only-for-tests -q 1 -r -t {topic} -m {message}")


def run_role(host: Host, tmp_path: pathlib.Path, *options: str) -> str:
    playbook, variables, inventory = (tmp_path / name for name in ("play.yml", "variables.yml", "hosts.yml"))
    playbook.write_text(json.dumps(PLAY), encoding="utf-8")
    variables.write_text(example(PAGE, "yaml", "mosquitto_listeners:"), encoding="utf-8")
    connection = {"ansible_connection": "community.docker.docker"}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {host.backend.name: connection}}}), encoding="utf-8")
    command = ["ansible-playbook", playbook, "-i", inventory, "-e", f"@{variables}", *options]
    run = subprocess.run(
        command, env=os.environ | {"ANSIBLE_FORCE_COLOR": "false"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def host() -> t.Iterator[Host]:
    """A host with Debian's Mosquitto, and the example's configuration."""
    host = testinfra.get_host(f"docker://{names_of('pypi')[0]}")
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get install --yes mosquitto mosquitto-clients")
    for path, part, language in (
        ("/etc/mosquitto/conf.d/site.conf", "set_tcp_nodelay", "ini"),
        ("/etc/mosquitto/acl", "topic write", "text"),
    ):
        host.check_output("printf %s %s > %s", "%s", example(PAGE, language, part), path)
    for account in ("sensor", "dashboard"):
        host.check_output(
            f"touch /etc/mosquitto/passwd; mosquitto_passwd -b /etc/mosquitto/passwd {account} only-for-tests"
        )
    host.check_output("chown mosquitto:mosquitto /etc/mosquitto/passwd /etc/mosquitto/acl")
    host.check_output("systemctl restart mosquitto")
    yield host
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get purge --yes mosquitto mosquitto-clients")


# The ways back, by the command that restores the backup, and the retained message that is there then
WAYS_BACK = {"before.tar.gz -C /\n": "before", "before.tar.gz -C / etc/mosquitto": "after"}


@pytest.mark.parametrize(("way_back", "retained"), WAYS_BACK.items(), ids=["all", "keep"])
def test_it_moves_to_the_role_and_back(host: Host, tmp_path: pathlib.Path, way_back: str, retained: str) -> None:
    mosquitto_pub(host, "sensor", "sensors/a", "before")
    debians = host.file(BEFORE).content_string
    host.check_output(example(PAGE, "shell", "mosquitto-before.tar.gz /etc"))
    assert mosquitto_sub(host, "dashboard", "sensors/a") == "before"

    assert "set_tcp_nodelay true" in run_role(host, tmp_path, "--check", "--diff")
    assert host.file(BEFORE).content_string == debians
    run_role(host, tmp_path)
    assert host.file(BEFORE).content_string != debians
    assert mosquitto_sub(host, "dashboard", "sensors/a") == "before"
    mosquitto_pub(host, "sensor", "sensors/a", "after")
    mosquitto_pub(host, "dashboard", "sensors/a", "forbidden")
    assert mosquitto_sub(host, "dashboard", "sensors/a") == "after"
    status = host.check_output(example(PAGE, "shell", "mosquitto-apply --check"))
    assert status.splitlines()[-1] == "mosquitto.service: up to date"

    host.check_output(example(PAGE, "shell", way_back))
    assert host.file(BEFORE).content_string == debians
    assert mosquitto_sub(host, "dashboard", "sensors/a") == retained
    assert not host.file("/usr/local/sbin/mosquitto-apply").exists
    assert "/lib/systemd/" in host.check_output("systemctl show --property FragmentPath --value mosquitto")
    assert host.check_output("systemctl list-unit-files --no-legend 'mosquitto-store*'; true") == ""
