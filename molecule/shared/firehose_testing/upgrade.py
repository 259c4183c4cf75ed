# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario upgrade: the state before, two runs of the playbook, and the service for clients."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import time
import typing as t

import pytest

from .changes.crowd import vanishing
from .clients import ACCOUNT_WAYS, RETAINED, TLS_WAYS, WAYS, Account, Way, publish
from .durable import DurableReader, publish_numbers
from .fixtures import Firehose, Firehoses, evaluated, names_of, only_host, reached
from .hostile import packets, wire
from .hostile.target import Listener
from .runs import Run, run_playbook, try_playbook

if t.TYPE_CHECKING:
    import subprocess

# Seconds between two connections of one client
PAUSE = 0.1
ACCOUNT = ACCOUNT_WAYS[0]
NUMBERS, KEPT = "ci/numbers", "kept/message"
# The number of events that are published before the upgrade
EARLY = 10

BROKEN = "/etc/systemd/system/firehose-haproxy.service.d"
BREAK = f"mkdir {BROKEN} && printf '[Service]\\nExecStartPre=/bin/false\\n' >{BROKEN}/broken.conf && systemctl daemon-reload"
REPAIR = f"rm -r {BROKEN} && systemctl daemon-reload"

EARLIER_CLIENT_ID = "cat /etc/mosquitto-public/client-id"
# At SIGUSR1 Mosquitto writes all sessions to its file.
SESSIONS = (
    "touch /run/asked && systemctl kill --signal USR1 mosquitto.service"
    " && until test /var/lib/mosquitto/mosquitto.db -nt /run/asked; do sleep 0.1; done"
    " && grep --text --count --fixed-strings %s /var/lib/mosquitto/mosquitto.db"
)
# Files that only earlier versions have.
EARLIER_FILES = "find /etc /usr/local /var/lib -name '*mosquitto?public*' -o -name '*firehose-edge*' | sort"


def has_session(firehose: Firehose, client_id: str) -> bool:
    """Whether the accounts broker has a session for a client id."""
    return firehose.host.run(SESSIONS, client_id).rc == 0


@dataclasses.dataclass
class Earlier:
    """The state of the earlier versions, by host, and the events that the accounts brokers have acknowledged."""

    files: dict[str, list[str]]
    client_ids: dict[str, str]
    readers: dict[str, DurableReader]
    acknowledged: dict[str, list[int]]


@pytest.fixture(scope="session")
def everywhere(firehoses: Firehoses) -> Firehoses:
    """The core hosts, and the edge host, which has no accounts."""
    return Firehoses(firehoses | {name: Firehose(*reached(name), {}, {}) for name in names_of("firehose_edges")})


@pytest.fixture(scope="session")
def ways() -> dict[str, list[Way]]:
    """The ways of anonymous clients, by host."""
    found = evaluated("firehose:firehose_edges", "firehose_tls")
    return {
        name: [*WAYS[::2], *(TLS_WAYS[::2] if variables["firehose_tls"] else [])] for name, variables in found.items()
    }


@pytest.fixture(scope="session")
def broken(firehoses: Firehoses) -> Firehose:
    """The core host where HAProxy does not start in the first run."""
    return firehoses[only_host("broken")]


@pytest.fixture(scope="session")
def earlier(firehoses: Firehoses, everywhere: Firehoses) -> Earlier:
    """Leave a retained message and a session with events at each core host, and record its state."""
    instances = names_of("from_778a966")

    def fill(firehose: Firehose) -> DurableReader:
        # One broker had one port for all clients.
        way = ACCOUNT if firehose.name in instances else dataclasses.replace(ACCOUNT, account=False)
        reader = DurableReader(firehose.address, firehose.readers["durable"], way)
        with reader.connected():
            pass
        account = firehose.publishers["ci"]
        publish(firehose.address, account, way, RETAINED, {KEPT: "kept"})
        publish_numbers(firehose.address, account, way, NUMBERS, range(EARLY))
        return reader

    readers = firehoses.each(fill)
    client_ids = {
        name: core.host.check_output(EARLIER_CLIENT_ID) for name, core in firehoses.items() if name in instances
    }
    for name, client_id in client_ids.items():
        assert has_session(firehoses[name], client_id), name
    files = everywhere.each(lambda host: host.host.check_output(EARLIER_FILES).splitlines())
    return Earlier(files, client_ids, readers, {name: [*range(EARLY)] for name in readers})


Done = t.TypeVar("Done")
# The times at which a client was served, from the start of a run to its end
Moments = list[float]
# The longest time without service, in seconds, by host and port, for each run
Gaps = dict[tuple[str, int], float]
GAPS: list[Gaps] = []


async def _until(ended: asyncio.Event, client: t.Callable[[], t.Awaitable[None]]) -> None:
    """Run a client again and again."""
    while not ended.is_set():
        with contextlib.suppress(*wire.FAILURES):
            await client()
        await asyncio.sleep(PAUSE)


async def _connect(listener: Listener, served: Moments) -> None:
    """Connect as an anonymous client."""
    connection = await wire.connect(listener)
    with vanishing(connection):
        await wire.log_in(connection, packets.V3, packets.connect(packets.V3))
    served.append(time.monotonic())


async def _publish(listener: Listener, account: Account, acknowledged: list[int]) -> None:
    """Publish the next number, and wait until the broker has acknowledged it."""
    connection = await wire.connect(listener)
    with vanishing(connection):
        hello = packets.connect(packets.V3, username=account.name, password=account.password)
        await wire.log_in(connection, packets.V3, hello)
        number = acknowledged[-1] + 1
        await connection.send(packets.publish(packets.V3, NUMBERS, b"%d" % number, qos=1))
        await connection.until(packets.PUBACK)
    acknowledged.append(number)


async def _watched(
    run: t.Callable[[], Done], served: list[Moments], clients: t.Sequence[t.Callable[[], t.Awaitable[None]]]
) -> Done:
    ended = asyncio.Event()
    for moments in served:
        moments.append(time.monotonic())
    watching = asyncio.gather(*(_until(ended, client) for client in clients))
    done = await asyncio.to_thread(run)
    for moments in served:
        moments.append(time.monotonic())
    ended.set()
    await watching
    return done


@dataclasses.dataclass(frozen=True)
class Upgrade(t.Generic[Done]):
    """A run, and how long each port was without service during it."""

    run: Done
    gaps: Gaps


Watch = t.Callable[[t.Callable[[], Done]], Upgrade[Done]]


@pytest.fixture(scope="session")
def watch(firehoses: Firehoses, everywhere: Firehoses, ways: dict[str, list[Way]], earlier: Earlier) -> Watch[t.Any]:
    """Run something while clients connect everywhere, and publish at the accounts brokers."""

    def watch_run(run: t.Callable[[], Done]) -> Upgrade[Done]:
        served: dict[tuple[str, int], Moments] = {}
        clients = []
        for name, host in everywhere.items():
            for way in ways[name]:
                moments = served[name, way.port] = []
                listener = Listener(host.address, way.port, way.transport, way.tls)
                clients.append(functools.partial(_connect, listener, moments))
        for name, core in firehoses.items():
            listener = Listener(core.address, ACCOUNT.port)
            clients.append(functools.partial(_publish, listener, core.publishers["ci"], earlier.acknowledged[name]))
        done = asyncio.run(_watched(run, [*served.values()], clients))
        GAPS.append(
            {key: max(b - a for a, b in itertools.pairwise(sorted(moments))) for key, moments in served.items()}
        )
        return Upgrade(done, GAPS[-1])

    return watch_run


@pytest.fixture(scope="session")
def first(watch: Watch[t.Any], broken: Firehose) -> Upgrade[subprocess.CompletedProcess[str]]:
    """The first run, in which HAProxy does not start at one host."""
    broken.host.check_output(BREAK)
    with pytest.MonkeyPatch.context() as patch:
        # No host waits for the others, so that each is like a single core host.
        patch.setenv("ANSIBLE_STRATEGY", "free")
        return watch(lambda: try_playbook("firehose"))


@pytest.fixture(scope="session")
def second(watch: Watch[t.Any], first: t.Any, broken: Firehose) -> Upgrade[Run]:
    """The second run, in which HAProxy starts."""
    broken.host.check_output(REPAIR)
    return watch(run_playbook)


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """Show the longest times without service."""
    if GAPS:
        terminalreporter.write_sep("=", "the longest time without service in each run, in seconds")
        for name, port in GAPS[0]:
            seconds = " ".join(f"{gaps[name, port]:5.1f}" for gaps in GAPS)
            terminalreporter.write_line(f"{name:30} {port:5} {seconds}")
