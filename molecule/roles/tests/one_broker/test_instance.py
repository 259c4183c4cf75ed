# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second broker instance on the same host relays messages of the first one. The password between them is generated."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t
import uuid

import pytest
from firehose_testing.brokers import PROJECT, Broker, Brokers, Role
from firehose_testing.clients import ANONYMOUS, Account

PORT = 2883
PASSWORD, CLIENT_ID = "/etc/mosquitto/relay.password", "/etc/mosquitto-relay/client-id"
INSTANCE = {
    "name": "relay",
    "listeners": [{"port": PORT}],
    "allow_anonymous": True,
    "users": [],
    "acl": {"anonymous": [{"topic": "both/#"}]},
    "persistence": False,
    "options": {},
    "bridges": [
        {
            "name": "main",
            "addresses": ["127.0.0.1:1883"],
            "username": "relay",
            "password_file": PASSWORD,
            "client_id_file": CLIENT_ID,
            "topics": [{"pattern": "both/#", "direction": "in", "qos": 1}],
            "options": {"restart_timeout": "1 5", "bridge_attempt_unsubscribe": False},
        }
    ],
}
ACCOUNT = {"name": "relay", "password_file": PASSWORD, "rules": [{"topic": "both/#"}]}
LEFT = f"/etc/mosquitto-relay /var/lib/mosquitto-relay /etc/systemd/system/mosquitto@relay.service {PASSWORD}"
REMOVE = f"systemctl disable --now mosquitto@relay; rm -rf {LEFT}; userdel mosquitto-relay; systemctl daemon-reload"


def include(tasks_from: str, **variables: t.Any) -> dict[str, t.Any]:
    role = {"name": "opendev.firehose.mosquitto", "tasks_from": tasks_from}
    return {"name": f"Take {tasks_from}", "ansible.builtin.include_role": role, "vars": variables}


def play(brokers: Brokers, folder: pathlib.Path, *tasks: dict[str, t.Any]) -> dict[str, dict[str, int]]:
    """Run tasks on the brokers. Returns the statistics of ansible-playbook for each."""
    playbook = folder / "play.yml"
    playbook.write_text(
        json.dumps([{"hosts": [*brokers], "gather_facts": False, "tasks": list(tasks)}]), encoding="utf-8"
    )
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(playbook)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["stats"]


@pytest.fixture(scope="module")
def relayed(brokers: Brokers, role: Role, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[dict[str, int]]:
    """The number of changes of a second run, by broker."""
    folder = tmp_path_factory.mktemp("instance")
    role.ensure()
    tasks = [include("account", mosquitto_account=ACCOUNT), include("main", mosquitto_instances=[INSTANCE])]
    play(brokers, folder, *tasks)
    again = play(brokers, folder, *tasks)
    yield {name: stats["changed"] for name, stats in again.items()}
    play(brokers, folder, include("account", mosquitto_account={"name": "relay", "state": "absent"}))
    brokers.each(lambda broker: broker.host.check_output(REMOVE))


def test_a_second_run_changes_nothing(brokers: Brokers, relayed: dict[str, int]) -> None:
    assert relayed == brokers.all(0)


@pytest.mark.usefixtures("relayed")
def test_the_second_instance_relays_messages_of_the_first(brokers: Brokers) -> None:
    for broker in brokers.values():
        with broker.session("both/#", account=ANONYMOUS, port=PORT) as reader, broker.session() as sender:
            payload = str(uuid.uuid4())
            sender.publish("both/relayed", payload)
            reader.wait_for(topic="both/relayed", payload=payload)


@pytest.mark.usefixtures("relayed")
def test_a_restart_of_the_first_instance_keeps_readers_of_the_second(brokers: Brokers) -> None:
    for broker in brokers.values():
        with broker.session("both/#", account=ANONYMOUS, port=PORT) as reader:
            broker.host.check_output("systemctl restart mosquitto")
            payload = str(uuid.uuid4())
            with broker.session() as sender:
                sender.publish("both/at-once", payload)
            reader.wait_for(topic="both/at-once", payload=payload)


@pytest.mark.usefixtures("relayed")
def test_logins_are_rejected_at_the_second_instance(brokers: Brokers) -> None:
    for account in ("admin", Account("admin", None), Account("relay", None)):
        refused = brokers.each(lambda broker, account=account: not broker.lets_in(account, port=PORT))
        assert refused == brokers.all(True)


@pytest.mark.usefixtures("relayed")
def test_only_root_can_read_the_generated_password_and_client_id(brokers: Brokers) -> None:
    def look(broker: Broker) -> tuple[set[str], bool]:
        modes = {broker.host.check_output("stat --format %%a%%U %s", path) for path in (PASSWORD, CLIENT_ID)}
        word = broker.host.file(PASSWORD).content_string.strip()
        return modes, word in broker.host.file("/etc/mosquitto-relay/mosquitto.conf").content_string

    assert brokers.each(look) == brokers.all(({"600root"}, False))
