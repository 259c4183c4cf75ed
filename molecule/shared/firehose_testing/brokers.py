# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin for brokers with any configuration: hosts, clients at any port, and runs of the role."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest
import testinfra
import testinfra.host
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner

from .clients import Account, Way
from .runs import causes
from .sessions import Session

pytest_plugins = ["firehose_testing.fixtures"]

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
VARIABLES = yaml.safe_load((SCENARIO / "group_vars/broker.yml").read_text(encoding="utf-8"))
# A broker before 2.1 with other listeners is restarted instead of reloaded, since a reload would remove the limits.
WITHOUT_LIMITS = [
    listener for listener in VARIABLES["mosquitto_listeners"] if not {"max_connections", "max_qos"} & set(listener)
]
ACCOUNTS = {
    user["name"]: Account(user["name"], user.get("password", VARIABLES["password_of_hash"]))
    for user in VARIABLES["mosquitto_users"]
}

TCP, WEBSOCKETS = Way("tcp", "3.1.1"), Way("websockets", "3.1.1")

Result = t.TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Broker:
    """A host with a broker: the name of its container, its connection, its address, and the version of Mosquitto."""

    name: str
    host: testinfra.host.Host
    address: str
    version: tuple[int, ...]

    def session(
        self, *filters: str, account: str | Account = "admin", port: int = 1883, way: Way = TCP, keepalive: int = 60
    ) -> Session:
        """A client, which connects when it is entered."""
        known = ACCOUNTS[account] if isinstance(account, str) else account
        return Session(self.address, port, known, filters, way, keepalive)

    def lets_in(self, account: str | Account, **where: t.Any) -> bool:
        """Whether an account can log in. No answer is an error."""
        try:
            with self.session(account=account, **where):
                return True
        except ConnectionError as exc:
            if "a refusal" not in str(exc):
                raise
            return False

    def listens(self, port: int, way: Way = TCP) -> bool:
        """Whether the port is open at the container's address."""
        try:
            with self.session(port=port, way=way):
                return True
        except ConnectionRefusedError:
            return False

    def show(self, name: str, unit: str = "mosquitto") -> str:
        """A property of a unit."""
        return self.host.check_output("systemctl show --property %s --value %s", name, unit)

    def loaded(self) -> str:
        """The set of files that the broker has read, and when."""
        return self.host.check_output("readlink /run/mosquitto.set && stat --format %z /run/mosquitto.set")


class Brokers(dict[str, Broker]):
    """Hosts with brokers, by name."""

    def each(self, function: t.Callable[[Broker], Result]) -> dict[str, Result]:
        """Call a function for all of them at once; return its results by name."""
        with concurrent.futures.ThreadPoolExecutor(len(self)) as pool:
            return dict(zip(self, pool.map(function, self.values()), strict=True))

    def all(self, result: Result) -> dict[str, Result]:
        """The result of each() if all agree."""
        return dict.fromkeys(self, result)


class Run:
    """The result of a run of the scenario's playbook."""

    def __init__(self, output: str, messages: str) -> None:
        self.output, self.messages = output, messages
        report = json.loads(output)
        self.failed_hosts = {host for host, stats in report["stats"].items() if stats["failures"]}
        self.changed: dict[str, list[str]] = {host: [] for host in report["stats"]}
        self.failures: dict[str, list[str]] = {host: [] for host in report["stats"]}
        for task in (task for play in report["plays"] for task in play["tasks"]):
            for host, result in task["hosts"].items():
                if result.get("changed"):
                    self.changed[host].append(task["task"]["name"].partition(" : ")[2])
                if result.get("failed"):
                    self.failures[host] += causes(result)

    @property
    def worked(self) -> bool:
        return not self.failed_hosts


class Role:
    """Runs the scenario's playbook on brokers, with the variables of its inventory or others."""

    # The variables of the last run on each broker. None if it failed; no entry after Molecule's own run.
    _asked: t.ClassVar[dict[str, dict[str, t.Any] | None]] = {}

    def __init__(self, brokers: t.Iterable[str]) -> None:
        self._brokers = [*brokers]

    def _set(self, variables: dict[str, t.Any] | None) -> None:
        self._asked.update(dict.fromkeys(self._brokers, variables))

    def _last(self) -> list[dict[str, t.Any] | None]:
        return [self._asked.get(name, {}) for name in self._brokers]

    def _command(self, variables: dict[str, t.Any], pattern: str = "") -> list[str]:
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        playbook = ["ansible-playbook", f"{SCENARIO}/converge.yml", "--inventory", inventory, "--diff"]
        return [*playbook, "--limit", pattern or ",".join(self._brokers), "--extra-vars", json.dumps(variables)]

    def run(self, pattern: str = "", check: bool = False, **variables: t.Any) -> Run:
        """Run, on other hosts if a pattern is given. Returns the result, also of a failed run."""
        settings = {
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_DISPLAY_FAILED_STDERR": "false",
        }
        command = [*self._command(variables, pattern), *["--check"] * check]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stdout + done.stderr
        assert "[WARNING]" not in done.stderr, done.stderr
        run = Run(done.stdout, done.stderr)
        if not pattern:
            self._set(variables if run.worked else None)
        return run

    def repeat(self) -> Run:
        """Run with the same variables again."""
        [variables, *others] = self._last()
        assert variables is not None
        assert all(other == variables for other in others)
        return self.run(**variables)

    def interrupt(self, task: str, **variables: t.Any) -> None:
        """Kill a run when a task begins. The tasks before it have ended on all hosts."""
        self._set(None)
        settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        process = subprocess.Popen(
            self._command(variables),
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout:
            met = any(line.startswith(f"TASK [opendev.firehose.mosquitto : {task}]") for line in process.stdout)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert met, f"there was no task {task!r}"

    def ensure(self, **variables: t.Any) -> None:
        """Run with these variables, unless the last run had them and succeeded."""
        if any(last != variables for last in self._last()):
            run = self.run(**variables)
            assert run.worked, run.failures

    def recover(self) -> None:
        """Make sure that the brokers serve, with any variables."""
        if None in self._last():
            self.ensure()


@pytest.fixture(scope="session")
def role(brokers: Brokers) -> Role:
    """Runs of the role mosquitto."""
    return Role(brokers)


def _hosts_in(group: str) -> list[str]:
    return AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"]).get_hosts(group)


def host_in(group: str) -> str:
    """The name of the only host of a group."""
    [name] = _hosts_in(group)
    return name


@functools.cache
def _broker(name: str) -> Broker:
    host = testinfra.get_host(f"docker://{name}")
    version = host.check_output("dpkg-query --show --showformat '${Version}' mosquitto").partition("-")[0]
    return Broker(name, host, host.check_output("hostname -i"), tuple(map(int, version.split("."))))


@pytest.fixture(scope="session")
def brokers() -> Brokers:
    """All brokers, in the state that the test before left."""
    return Brokers((name, _broker(name)) for name in _hosts_in("broker"))


@pytest.fixture
def broker(request: pytest.FixtureRequest, role: Role) -> Broker:
    """Each broker, with the scenario's variables."""
    role.ensure()
    return _broker(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `broker` once for each broker."""
    if "broker" in metafunc.fixturenames:
        metafunc.parametrize("broker", _hosts_in("broker"), indirect=True)
