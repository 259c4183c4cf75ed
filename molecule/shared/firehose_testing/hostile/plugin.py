# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario hostile: programs in containers, their reports, and the table of the attacks."""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import pathlib
import subprocess
import threading
import time
import typing as t

import pytest

from ..fixtures import evaluated, only_host
from ..waiting import wait_until
from .attack import Attack
from .attacks import ATTACKS
from .scoring import Row, make_row, table

PROJECT = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
# The targets, and the group of each target's host. Only the core host can have another release.
TARGETS = {"core": "firehose", "edge": "firehose_edges"}
CHOSEN = os.environ.get("HOSTILE_TARGET", "").split() or list(TARGETS)
RELEASES = dict.fromkeys(TARGETS, "13") | {"core": os.environ.get("HOSTILE_RELEASE", "13")}
LONG = os.environ.get("HOSTILE") == "long"
SEED = int(os.environ.get("HOSTILE_SEED", "20161026"))
PACKAGE = pathlib.Path(__file__).parents[1]
FOLDER = "/srv/testing"
# Networks of the size that a provider assigns to a subscriber, and addresses in them.
IPV6 = "fd00:f1e:0:{network}::{host:x}"
ROWS: dict[str, list[Row]] = {}


def in_container(name: str, *command: str) -> str:
    """Run a command in a container, and return its output."""
    command = ("docker", "exec", name, *command)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", check=True).stdout


@functools.cache
def install(name: str) -> None:
    """Copy this package into a container."""
    in_container(name, "mkdir", "--parents", FOLDER)
    subprocess.run(["docker", "cp", "--quiet", str(PACKAGE), f"{name}:{FOLDER}"], check=True)


def network(name: str) -> ipaddress.IPv4Interface:
    """A container's address, with its network."""
    [interface] = json.loads(in_container(name, "ip", "-json", "-4", "address", "show", "eth0"))
    first = interface["addr_info"][0]
    return ipaddress.ip_interface(f"{first['local']}/{first['prefixlen']}")


def add_addresses(name: str, addresses: list[str], prefix: int) -> list[str]:
    """Add addresses of a shared network to a container."""
    script = "; ".join(f"ip address replace {address}/{prefix} dev eth0 nodad" for address in addresses)
    in_container(name, "sh", "-ec", script.replace("nodad", "nodad" if ":" in addresses[0] else ""))
    return addresses


def last_addresses(name: str, first: int, count: int) -> list[str]:
    """Add addresses from the end of its network to a container, where Docker assigns none."""
    whole = network(name).network
    found = [str(whole.broadcast_address - first - place) for place in range(count)]
    return add_addresses(name, found, whole.prefixlen)


class Part:
    """A program of this package that runs in a container, and its reports."""

    def __init__(self, container: str, module: str, order: dict[str, t.Any], limit: float | None = None) -> None:
        install(container)
        program = ["python3", "-B", "-m", f"firehose_testing.hostile{module}"]
        self._name = f"{module or 'attack'} in {container}"
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", "--env", f"PYTHONPATH={FOLDER}", container]
            + (["timeout", str(int(limit))] if limit else [])
            + program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.records: list[dict[str, t.Any]] = []
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.records.append(json.loads(line))

    def told(self, kind: str, **what: t.Any) -> bool:
        """Whether it has reported something. It is an error if it has ended."""
        assert self._process.poll() is None, f"{self._name} has ended with {self._process.returncode}"
        return any(record["kind"] == kind and what.items() <= record.items() for record in list(self.records))

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._thread.join()
        assert self._process.wait() == 0, f"{self._name} has ended with {self._process.returncode}"

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.wait()


def path(target: str, ending: str) -> pathlib.Path:
    """The path for data about the attacks on a target."""
    return PROJECT / f".cache/hostile-{RELEASES[target]}-{target}.{ending}"


class Battle:
    """One target, its regular clients, and the attackers. Publishers are at the core host, for each target."""

    def __init__(self, target: str) -> None:
        self.target, self.rows = target, ROWS.setdefault(target, [])
        groups = ("firehose", TARGETS[target], "public", "attacker")
        self._core, self._firehose, self._public, self._attacker = map(only_host, groups)
        self._data = evaluated(TARGETS[target], "hostile_target")[self._firehose]["hostile_target"]
        self._host = str(network(self._firehose).ip)
        self._sources = last_addresses(self._attacker, 2, 64)
        address = IPV6.format(network=0, host=list(TARGETS).index(target) + 1)
        [self._host6] = add_addresses(self._firehose, [address], 48)
        self._sources6 = add_addresses(
            self._attacker, [IPV6.format(network=1, host=number) for number in range(1, 65)], 48
        )
        public, watch = {"watch": False, "sources": last_addresses(self._public, 80, 64)}, {"watch": True}
        self._parts = [
            self._part(self._firehose, ".observer"),
            self._part(self._core, ".publisher"),
            self._part(self._public, ".reader", **public),
            self._part(self._firehose, ".reader", **watch),
        ]
        self.readers = [f"{listener['transport']} {listener['port']}" for listener in self._data["listeners"]]

    def _part(self, container: str, module: str, limit: float | None = None, **what: t.Any) -> Part:
        return Part(container, module, {"target": self._data, "host": self._host, **what}, limit)

    @property
    def source_connections(self) -> int:
        return self._data["source_connections"]

    @property
    def most_memory(self) -> int:
        return self._data["most_memory"]

    @property
    def records(self) -> list[dict[str, t.Any]]:
        """All reports so far."""
        return [record for part in self._parts for record in list(part.records)]

    def begin(self) -> None:
        """Wait until all clients are connected, and long enough to measure the memory."""
        [observer, publisher, public, watcher] = self._parts
        wait_until(lambda: publisher.told("publisher connected"), "the publisher is connected")
        for reader in self.readers:
            wait_until(lambda who=reader: public.told("reader connected", who=who), f"{reader} is read")
        wait_until(lambda: watcher.told("reader connected"), "the watcher is connected")
        wait_until(
            lambda: len([record for record in observer.records if record["kind"] == "memory"]) > 4, "memory is known"
        )

    def end(self) -> None:
        """End all programs, and save all reports for details that are not in the table."""
        for part in self._parts:
            part.end()
        lines = (json.dumps(record) + "\n" for record in sorted(self.records, key=lambda record: record["time"]))
        path(self.target, "jsonl").write_text("".join(lines), encoding="utf-8")

    def fight(self, attack: Attack) -> Row:
        """Attack, wait until no client waits for a result of it, and account for it."""
        seconds = attack.long_seconds if LONG else attack.seconds
        sources, host = (self._sources6, self._host6) if attack.ipv6 else (self._sources, self._host)
        self._retain(attack.retained, present=True)
        start = time.time()
        # Each attack begins with addresses that the attacks just before it have not used: their limits are not used up,
        # and they have no old connections with data that the limits hold back.
        first = 8 * list(ATTACKS).index(attack.name) % len(sources)
        sources = (sources[first:] + sources[:first])[: attack.sources]
        order = {"attack": attack.name, "sources": sources, "host": host, "core": str(network(self._core).ip)}
        order |= {"seconds": seconds, "long": LONG, "seed": SEED}
        attacking = self._part(self._attacker, "", limit=4 * seconds + 60, **order)
        attacking.wait()
        row = self.account(attack.name, attack.forbidden, attacking.records[-1], start)
        self._retain(attack.retained, present=False)
        if row.memory_peak > self.most_memory * 1024:
            self._restart()
        return row

    def _retain(self, count: int, *, present: bool) -> None:
        """Make the regular publisher publish retained messages, or remove them."""
        if count:
            self._part(self._core, ".control", limit=30, retained=count, present=present).wait()
            time.sleep(1)

    def _restart(self) -> None:
        """Restart services, so that the next attack is not blamed for memory of this one."""
        in_container(self._firehose, "systemctl", "restart", *self._data["services"])
        # Reports until then may be from before.
        since = time.time() + 1
        for who in self.readers:
            wait_until(
                lambda who=who: any(
                    record["kind"] == "got" and record["who"] == who and record["numbers"] and record["time"] > since
                    for record in self.records
                ),
                f"{who} gets events again",
            )
        time.sleep(3)

    def account_log(self) -> str:
        """The log of HAProxy for accounts at the core host."""
        return in_container(
            self._core, "journalctl", "--namespace=firehose", "--unit=firehose-accounts", "--output=cat"
        )

    def control(self) -> Row:
        """Publish with an authorized account. All readers must notice it."""
        start = time.time()
        part = self._part(self._core, ".control", limit=30)
        part.wait()
        return self.account("none: with the right to publish", False, part.records[-1], start)

    def account(self, name: str, forbidden: bool, outcome: dict[str, t.Any], start: float) -> Row:
        # Messages published in vain may be in flight.
        time.sleep(1)
        row, end, deadline = None, time.time(), time.monotonic() + 20
        while row is None or ((row.missed or self._waiting(start, end)) and time.monotonic() < deadline):
            time.sleep(0.6)
            row = make_row(name, forbidden, outcome, self.records, self.readers, start, end)
        self.rows.append(row)
        return row

    def _waiting(self, start: float, end: float) -> bool:
        """Whether some new clients do not know yet if they are served."""
        moments = [(record["kind"], record.get("begun", record["time"])) for record in self.records]
        begun, ended = (
            sum(kind == wanted and start <= moment < end for kind, moment in moments)
            for wanted in ("newcomer begins", "newcomer")
        )
        return begun > ended


@pytest.fixture(scope="session")
def battle(request: pytest.FixtureRequest) -> t.Iterator[Battle]:
    """A target, with its regular clients connected."""
    found = Battle(request.param)
    try:
        found.begin()
        yield found
    finally:
        found.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once at each target, and a test that uses `attack` once for each attack there. Tests of a target run together."""
    if "battle" in metafunc.fixturenames:
        metafunc.parametrize("battle", CHOSEN, indirect=True, scope="session")
    if "attack" in metafunc.fixturenames:
        attacks = [pytest.param(attack, id=attack.name.replace(" ", "-")) for attack in ATTACKS.values()]
        metafunc.parametrize("attack", attacks)


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """Show the tables, and write them to files, where they are not wrapped."""
    for target, rows in ROWS.items():
        file = path(target, "md")
        terminalreporter.write_sep("=", f"attacks on {target}, Debian {RELEASES[target]} (also in {file})")
        terminalreporter.write_line(table(rows))
        file.write_text(table(rows) + "\n", encoding="utf-8")
