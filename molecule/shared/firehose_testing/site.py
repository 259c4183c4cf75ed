# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario site: runs of its playbook, its variables, and checks of publishers."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import typing as t
import uuid

import pytest
import testinfra
import testinfra.host
from testinfra.utils.ansible_runner import AnsibleRunner

from .clients import ACCOUNT_TLS, ANONYMOUS, QOS1, Account, PahoSubscriber, Way, publish
from .runs import causes

pytest_plugins = ["firehose_testing.fixtures"]

SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
EPHEMERAL = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = os.environ["MOLECULE_INVENTORY_FILE"]
TCP = Way("tcp", "3.1.1")


class Run:
    """The result of a run of the site's playbook."""

    def __init__(self, output: str) -> None:
        report = json.loads(output)
        self.failures: dict[str, list[str]] = {}
        # the tasks and handlers that changed something, by host
        self.changed: dict[str, list[str]] = {}
        # the plays, once for each of their batches, with the hosts that their tasks ran on
        self.plays: list[tuple[str, set[str]]] = []
        # the files of the tasks
        self.paths: set[pathlib.Path] = set()
        for play in report["plays"]:
            self.plays.append((play["play"]["name"], set()))
            for task in play["tasks"]:
                for host, result in task["hosts"].items():
                    if not result.get("skipped"):
                        self._add(host, task["task"], result)

    def _add(self, host: str, task: dict[str, t.Any], result: dict[str, t.Any]) -> None:
        self.plays[-1][1].add(host)
        self.paths.add(pathlib.Path(task["path"].rpartition(":")[0]))
        if result.get("changed"):
            self.changed.setdefault(host, []).append(task["name"])
        if result.get("failed"):
            self.failures.setdefault(host, []).extend(causes(result))


def run_site(*options: str, **variables: t.Any) -> Run:
    """Run the site's playbook, which must succeed without a warning."""
    settings = {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",  # and no callback that prints something else
    }
    command = ["ansible-playbook", f"{SCENARIO}/site.yml", "--inventory", INVENTORY, *options]
    command += ["--extra-vars", json.dumps(variables)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done.stdout + done.stderr
    run = Run(done.stdout)
    assert not run.failures
    assert done.stderr == ""
    return run


def hosts_in(group: str) -> list[str]:
    """The names of a group's hosts."""
    return AnsibleRunner.get_runner(INVENTORY).get_hosts(group)


@dataclasses.dataclass(frozen=True)
class Broker:
    """A host with a broker, and an account that can publish below a topic there and does not change."""

    name: str
    host: testinfra.host.Host
    address: str
    fence: Account
    watcher: Account  # an account that can read everything
    account_way: Way

    def lets_in(self, account: Account) -> bool:
        """Whether an account can log in. No answer is an error."""
        try:
            with PahoSubscriber(self.address, self.account_way, ["none"], account):
                return True
        except ConnectionError as exc:
            if "a refusal" not in str(exc):
                raise
            return False

    def reached(self, account: Account, *topics: str) -> set[str]:
        """Try to publish on topics. Returns those that reached the watcher, which is anonymous at a firehose."""
        payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
        with PahoSubscriber(self.address, TCP, ["#"], self.watcher) as watcher:
            publish(self.address, account, self.account_way, QOS1, dict.fromkeys(topics, payload))
            # Once this has arrived, the attempt has arrived too, if it does at all.
            publish(self.address, self.fence, self.account_way, QOS1, {self.fence.topics[0]: fence})
            watcher.wait_for(payload=fence)
            return {message.topic for message in watcher.messages if message.payload == payload}


def _broker(name: str, fence: Account, watcher: Account, account_way: Way) -> Broker:
    host = testinfra.get_host(f"docker://{name}")
    return Broker(name, host, host.check_output("hostname -i"), fence, watcher, account_way)


@pytest.fixture(scope="session")
def brokers() -> list[Broker]:
    """The firehoses."""
    germqtt = Account("germqtt", "only-for-tests-germqtt", ("gerrit/fence",))
    return [_broker(name, germqtt, ANONYMOUS, ACCOUNT_TLS) for name in hosts_in("firehose")]


@pytest.fixture(scope="session")
def sensors() -> Broker:
    """The broker that is not a firehose."""
    monitoring = Account("monitoring", "only-for-tests-monitoring", ("fence",))
    [name] = hosts_in("broker")
    return _broker(name, monitoring, monitoring, TCP)
