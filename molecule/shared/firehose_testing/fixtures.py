# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenarios: the hosts from Molecule's inventory."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import fcntl
import json
import os
import pathlib
import subprocess
import typing as t

import pytest
import testinfra
import testinfra.host
from testinfra.utils.ansible_runner import AnsibleRunner

from .clients import TLS_WAYS, WAYS, Account, PahoSubscriber, Subscriber, Way, mosquitto_sub, mqttjs_subscriber
from .gerrit import Gerrit

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
MQTTJS = PROJECT / "tests/mqttjs"

Result = t.TypeVar("Result")


def _inventory() -> AnsibleRunner:
    return AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"])


def names_of(group: str) -> list[str]:
    return _inventory().get_hosts(group)


def only_host(group: str) -> str:
    [name] = names_of(group)
    return name


@dataclasses.dataclass(frozen=True)
class Firehose:
    """A managed host: the name of its container, its connection, its address, and the accounts of its variables."""

    name: str
    host: testinfra.host.Host
    address: str
    publishers: dict[str, Account]
    readers: dict[str, Account]


def evaluated(group: str, *names: str) -> dict[str, dict[str, t.Any]]:
    """Variables of a group's hosts as Ansible sees them, by host. None for variables that a host does not have."""
    # ansible-inventory would show the templates, and testinfra's method uses a deprecated option.
    message = "{{ {" + ", ".join(f"'{name}': {name} | default(none)" for name in names) + "} }}"
    settings = {
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",  # and no callback that prints something else
    }
    ansible = ["ansible", group, "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    ansible += ["--module-name", "ansible.builtin.debug", "--args", f"msg={message}"]
    run = subprocess.run(ansible, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    [play] = json.loads(run.stdout)["plays"]
    return {name: result["msg"] for name, result in play["tasks"][0]["hosts"].items()}


def _accounts(entries: list[dict[str, t.Any]] | None, passwords: dict[str, str] | None) -> dict[str, Account]:
    known = (passwords or {}) | {entry["name"]: entry["password"] for entry in entries or [] if entry.get("password")}
    return {
        entry["name"]: Account(entry["name"], known[entry["name"]], tuple(entry.get("topics", ())))
        for entry in entries or []
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `name` once for each managed host."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names_of("firehose"))


def reached(name: str) -> tuple[str, testinfra.host.Host, str]:
    """The common attributes of each kind of host: name, connection and address."""
    host = testinfra.get_host(f"docker://{name}")
    return name, host, host.check_output("hostname -i")


class Firehoses(dict[str, Firehose]):
    """Managed hosts by name."""

    def each(self, function: t.Callable[[Firehose], Result]) -> dict[str, Result]:
        """Call a function for all hosts at once; return its results by name."""
        with concurrent.futures.ThreadPoolExecutor(len(self)) as pool:
            return dict(zip(self, pool.map(function, self.values()), strict=True))


@pytest.fixture(scope="session")
def firehoses() -> Firehoses:
    """All managed hosts."""
    names = "firehose_publishers", "firehose_readers", "passwords_of_hashes"
    found = Firehoses()
    for name, variables in evaluated("firehose", *names).items():
        publishers, readers, passwords = variables.values()
        accounts = _accounts(publishers, passwords), _accounts(readers, passwords)
        found[name] = Firehose(*reached(name), *accounts)
    return found


@pytest.fixture(scope="session")
def core(firehoses: Firehoses) -> Firehose:
    """The only managed host, if there is only one."""
    [found] = firehoses.values()
    return found


@pytest.fixture(scope="session")
def ci(core: Firehose) -> Account:
    """A publisher that can use all topics."""
    return core.publishers["ci"]


@pytest.fixture(scope="session")
def gerrit() -> Gerrit:
    """The Gerrit that the managed hosts connect to."""
    return Gerrit(testinfra.get_host(f"docker://{only_host('gerrit')}"))


OpenClient = t.Callable[..., Subscriber]


@pytest.fixture(scope="session")
def subscriber() -> str:
    """The container with Mosquitto's clients."""
    return only_host("subscriber")


@pytest.fixture(scope="session")
def clients(subscriber: str) -> dict[str, OpenClient]:
    """All supported clients: from a name to a function that makes it from an address and filters."""
    stamp, lock = MQTTJS / "node_modules/.package-lock.json", MQTTJS / "package-lock.json"
    with lock.open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(["npm", "ci", "--silent"], cwd=MQTTJS, check=True)

    def with_paho(way: Way) -> OpenClient:
        return lambda address, filters=("#",): PahoSubscriber(address, way, filters)

    def with_mqttjs(way: Way) -> OpenClient:
        return lambda address, filters=("#",): mqttjs_subscriber(str(MQTTJS), address, way, filters)

    def with_mosquitto_sub(way: Way) -> OpenClient:
        return lambda address, filters=("#",): mosquitto_sub(subscriber, address, way, filters)

    return (
        {f"paho-{way}": with_paho(way) for way in (*WAYS, *TLS_WAYS)}
        | {f"mqttjs-{way}": with_mqttjs(way) for way in WAYS if way.transport == "websockets"}
        | {f"mosquitto_sub-{way}": with_mosquitto_sub(way) for way in WAYS if way.transport == "tcp"}
    )
