# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delay of events from Gerrit to a subscriber: with germqtt 0.1.0, with this collection's germqtt, and with a bare publisher.

BENCH_BEFORE names a commit of this repository. The collection of that commit is set up on its own host, and measured in turn with the others.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import secrets
import statistics
import subprocess
import time
import typing as t

import hosts
import yaml
from firehose_testing.clients import PahoSubscriber, Way
from measure import BENCH, CHECKOUT, TARGETS_HEADER, BenchError, play, ratio, run, say, table, target

BURST = 10_000
WAITING = 100_000
# Events a second, and the number of seconds.
RATES = {1: 20, 100: 10, 1000: 5}
EXTRA_RATES = {100: 10}
# The accounts broker and the public brokers
BROKERS = "mosquitto*.service"
# The time limit of a burst, and the time without an event after which it counts as withheld.
BURST_TIMEOUT, WITHHELD_AFTER = 120, 10
BEFORE = os.environ.get("BENCH_BEFORE")

# The time to write 4 KiB to the disk, in milliseconds.
SYNC = """
import os, statistics, time
taken = []
with open("/var/lib/germqtt/bench", "wb", buffering=0) as file:
    for _time in range(200):
        start = time.monotonic()
        file.write(bytes(4096))
        os.fsync(file.fileno())
        taken.append(time.monotonic() - start)
os.remove(file.name)
print(statistics.median(taken) * 1000)
"""

FEEDER = """
import json, sys, time
events, rate = int(sys.argv[1]), float(sys.argv[2])
start = time.time()
with open("/srv/gerrit/events.jsonl", "a") as stream:
    for number in range(events):
        if rate:
            time.sleep(max(start + number / rate - time.time(), 0))
        event = {"type": "comment-added", "project": f"bench/{number % 5}", "number": number, "run": sys.argv[3],
                 "comment": "x" * 1500, "eventCreatedOn": int(time.time()), "emitted": time.time()}
        print(json.dumps(event), file=stream, flush=bool(rate))
"""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A publisher: the unit's name, and the variables of the playbook if that sets it up."""

    name: str
    what: str
    unit: str = "germqtt"
    variables: t.Mapping[str, t.Any] | None = None
    rates: t.Mapping[int, int] = dataclasses.field(default_factory=lambda: RATES)
    host: str = "firehose"


# Debian 13 and older save with a sync anyway.
SYNCED = {"germqtt_store_fsync": True, "mosquitto_persistence_sync": "full"}
VARIANTS = [
    Variant("upstream", "germqtt 0.1.0", variables={"germqtt_source": "pypi"}),
    Variant("bundled", "germqtt of this collection", variables={}),
    Variant("bare", "ssh | bare publisher", unit="bare"),
    Variant("synced", "  safe against power loss", variables=SYNCED, rates=EXTRA_RATES),
    Variant("once", "  that publishes nothing again", variables={"germqtt_republish_max": 0}, rates=EXTRA_RATES),
]
if BEFORE:
    VARIANTS.append(Variant("before", f"  of {BEFORE}", variables={}, host="before"))
HOSTS = sorted({variant.host for variant in VARIANTS})


@dataclasses.dataclass
class Sample:
    """One turn of a variant."""

    burst_rate: float = 0.0
    withheld: int = 0
    cpu: float = 0.0
    broker_cpu: float = 0.0
    # Milliseconds, by events a second.
    latencies: dict[int, list[float]] = dataclasses.field(default_factory=dict)


class Subscriber(PahoSubscriber):
    """An anonymous client that records the time of each event."""

    def __init__(self, address: str) -> None:
        super().__init__(address, Way("tcp", "3.1.1"), ["gerrit/#"])
        self.moments: list[float] = []

    def _add(self, message: t.Any) -> None:
        self.moments.append(time.time())
        super()._add(message)

    def arrived(self, mark: str) -> list[tuple[float, float]]:
        """The times at which the events of a run arrived and were emitted."""
        both = zip(self.moments, [message.payload for message in self.messages], strict=False)
        return [(moment, json.loads(payload)["emitted"]) for moment, payload in both if f'"run": "{mark}"' in payload]


class Firehose:
    """A host that runs variants, one at a time."""

    def __init__(self, folder: pathlib.Path, name: str, gerrit: t.Mapping[str, t.Any]) -> None:
        self._name = name
        self.address = hosts.address(name)
        self._inventory = folder / f"{name}.yml"
        self._password = secrets.token_urlsafe(24)
        self._germqtt = gerrit
        self._collections = earlier(folder, BEFORE) if BEFORE and name == "before" else None
        self.runs = 0

    def run(self, *command: str) -> str:
        """Run a command on the host; return what it prints."""
        return hosts.in_container(self._name, *command)

    def show(self, name: str, unit: str = "germqtt") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit)

    def stop(self) -> None:
        """Stop all variants."""
        self.run("sh", "-c", "systemctl stop bare germqtt 2>/dev/null; true")

    def switch_to(self, variant: Variant) -> None:
        """Run one variant, and no other."""
        self.stop()
        if variant.variables is None:
            self._start_bare()
            return
        germqtt = {"name": "germqtt", "password": self._password, "topics": ["gerrit/#"], "messages": 0, "bytes": 0}
        connection = {"ansible_connection": "community.docker.docker", "ansible_user": "root"}
        # A broker that queues a burst for a slow subscriber, since otherwise the fastest publisher would be at a
        # disadvantage.
        queue = {"firehose_max_queued_messages": 2 * BURST}
        # germqtt 0.1.0 supports only port 1883.
        listeners = {
            "firehose_listeners": [{"port": 1883, "bind_address": self.address}],
            "firehose_account_listeners": [{"port": 1883, "bind_address": "127.0.0.1"}],
        }
        own = {"firehose_publishers": [germqtt], **queue, **listeners}
        variables = {**own, **self._germqtt, **variant.variables, **connection}
        inventory = {"firehose": {"hosts": {hosts.container(self._name): {}}, "vars": variables}}
        self._inventory.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        options = f"--inventory={self._inventory}"
        if self._collections:
            play("opendev.firehose.firehose", options, ANSIBLE_COLLECTIONS_PATH=self._collections)
        else:
            play(CHECKOUT / "playbooks/firehose.yml", options)

    def _start_bare(self) -> None:
        run("docker", "cp", BENCH / "bare_publisher.py", f"{hosts.container(self._name)}:/usr/local/lib/")
        key, known = "/etc/germqtt/.ssh/id_germqtt", "/etc/germqtt/.ssh/known_hosts"
        gerrit = f"-p 29418 germqtt@{self._germqtt['germqtt_gerrit_host']} gerrit stream-events"
        password = "umask 077; sed -n 's/^password = //p' /etc/germqtt/germqtt.conf | tr -d '\\n' >/root/password"
        self.run("sh", "-c", password)
        pipe = f"ssh -i {key} -o UserKnownHostsFile={known} {gerrit} | python3 /usr/local/lib/bare_publisher.py germqtt /root/password"
        self.run("systemd-run", "--quiet", "--unit=bare", "sh", "-c", pipe)

    def cpu(self, units: str) -> float:
        """CPU seconds of the units that match a pattern."""
        return sum(int(value) for value in self.show("CPUUsageNSec", units).split() if value.isdigit()) / 1e9

    def emit(self, events: int, rate: float) -> str:
        """Stream events from Gerrit at a rate, or all at once; return the run's mark."""
        self.runs += 1
        mark = f"{self._name}-{self.runs}"
        hosts.in_container("gerrit", "python3", "-c", FEEDER, str(events), str(rate), mark, limit=120)
        return mark


def earlier(folder: pathlib.Path, commit: str) -> pathlib.Path:
    """The collection at a commit, in a directory for collections."""
    collections = folder / "collections"
    place = collections / "ansible_collections/opendev/firehose"
    place.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "--extract", f"--directory={place}"], input=archive.stdout, check=True)
    return collections


def wait_for(subscriber: Subscriber, mark: str, events: int) -> list[tuple[float, float]]:
    """Wait until the events have arrived, or no more arrive."""
    deadline = time.monotonic() + BURST_TIMEOUT
    seen, since = 0, time.monotonic()
    while time.monotonic() < min(deadline, since + WITHHELD_AFTER):
        time.sleep(0.2)
        if len(subscriber.moments) == seen:
            continue
        seen, since = len(subscriber.moments), time.monotonic()
        # Parsing the messages here would slow down the subscriber.
        if seen >= events and len(subscriber.arrived(mark)) >= events:
            break
    return subscriber.arrived(mark)


def ready(firehose: Firehose) -> None:
    """Wait until events that Gerrit streams arrive."""
    with Subscriber(firehose.address) as subscriber:
        for _attempt in range(60):
            mark = firehose.emit(1, 0)
            time.sleep(0.5)
            if subscriber.arrived(mark):
                return
    raise BenchError("no event arrives")


def sample(firehose: Firehose, variant: Variant) -> Sample:
    """Measure a variant once."""
    firehose.switch_to(variant)
    ready(firehose)
    found = Sample()
    with Subscriber(firehose.address) as subscriber:
        before = firehose.cpu(variant.unit), firehose.cpu(BROKERS)
        got = wait_for(subscriber, mark := firehose.emit(BURST, 0), BURST)
        after = firehose.cpu(variant.unit), firehose.cpu(BROKERS)
        moments = [moment for moment, _emitted in got]
        found.burst_rate = (len(got) - 1) / (moments[-1] - moments[0])
        found.withheld = BURST - len(got)
        found.cpu, found.broker_cpu = (b - a for a, b in zip(before, after, strict=True))
    for rate, seconds in variant.rates.items():
        with Subscriber(firehose.address) as subscriber:
            got = wait_for(subscriber, firehose.emit(rate * seconds, rate), rate * seconds)
            found.latencies[rate] = sorted((moment - emitted) * 1000 for moment, emitted in got)
    say(f"{variant.name}: {found.burst_rate:.0f}/s, withheld {found.withheld}, {mark}")
    return found


def memory(firehose: Firehose) -> dict[str, float]:
    """The memory of this collection's germqtt while 100,000 events wait, in MiB, and the time to publish them, in seconds."""
    firehose.switch_to(VARIANTS[1])
    ready(firehose)
    firehose.run("systemctl", "stop", "mosquitto")
    for _part in range(10):
        firehose.emit(WAITING // 10, 0)
    deadline = time.monotonic() + 120
    while f" {WAITING} waiting" not in (status := firehose.show("StatusText")):
        if time.monotonic() > deadline:
            raise BenchError(f"{WAITING} events do not wait: {status}")
        time.sleep(0.5)
    pid = firehose.show("MainPID")
    store = int(firehose.run("stat", "--format=%s", "/var/lib/germqtt/events.sqlite")) / 2**20
    firehose.run("systemctl", "start", "mosquitto")
    start = time.monotonic()
    while " 0 waiting" not in firehose.show("StatusText"):
        if time.monotonic() - start > 240:
            raise BenchError(f"what waited is not published: {firehose.show('StatusText')}")
        time.sleep(0.5)
    drained = time.monotonic() - start
    peak = firehose.run("sed", "-n", "s/^VmHWM:\\s*\\([0-9]*\\) kB/\\1/p", f"/proc/{pid}/status")
    return {"peak": int(peak) / 1024, "store": store, "drained": drained}


@dataclasses.dataclass(frozen=True)
class Results:
    """All turns of all variants, and the memory."""

    samples: t.Mapping[str, t.Sequence[Sample]]
    memory: t.Mapping[str, float]
    sync: float


def measure(folder: pathlib.Path, turns: int) -> Results:
    """Measure all variants in turn, in the same containers."""
    samples: dict[str, list[Sample]] = collections.defaultdict(list)
    with hosts.containers(HOSTS):
        gerrit = hosts.gerrit_variables()
        firehoses = {name: Firehose(folder, name, gerrit) for name in HOSTS}
        for turn in range(turns):
            for variant in VARIANTS:
                say(f"turn {turn + 1} of {turns}: {variant.what.strip()}")
                for firehose in firehoses.values():
                    firehose.stop()
                samples[variant.name].append(sample(firehoses[variant.host], variant))
        for firehose in firehoses.values():
            firehose.stop()
        say(f"{WAITING} events wait")
        held = memory(firehoses["firehose"])
        return Results(samples, held, float(firehoses["firehose"].run("python3", "-c", SYNC)))


def _percentile(values: t.Sequence[float], part: float) -> float:
    return values[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


def report(results: Results) -> str:
    """The tables."""

    def medians(values: t.Iterable[float]) -> str:
        return f"{statistics.median(values):.2f}"

    bursts, latencies = [], []
    for variant in VARIANTS:
        those = results.samples[variant.name]
        bursts.append(
            (
                variant.what,
                f"{statistics.median(one.burst_rate for one in those):.0f}",
                " ".join(f"{one.burst_rate:.0f}" for one in those),
                " ".join(str(one.withheld) for one in those),
                medians(one.cpu for one in those),
                medians(one.broker_cpu for one in those),
            )
        )
        for rate in variant.rates:
            each = [one.latencies[rate] for one in those]
            latencies.append(
                (
                    f"{variant.what}, {rate}/s",
                    *(medians(_percentile(values, part) for values in each) for part in (0.5, 0.99, 1)),
                    str(sum(len(values) for values in each)),
                )
            )
    rates = {name: [one.burst_rate for one in those] for name, those in results.samples.items()}
    late = {name: [_percentile(one.latencies[100], 0.99) for one in those] for name, those in results.samples.items()}
    targets = [
        target("events withheld by this collection's", max(one.withheld for one in results.samples["bundled"]), 0),
        ratio("germqtt 0.1.0's burst rate / this collection's", rates["upstream"], rates["bundled"], 1 / 3),
        ratio("burst rate without publishing again / with it", rates["once"], rates["bundled"], 2),
        ratio("1000 events/s / burst rate safe against power loss", [1000] * len(rates["synced"]), rates["synced"], 1),
        ratio("p99 at 100/s, this collection's / bare publisher's", late["bundled"], late["bare"], 2),
        target(f"MiB with {WAITING} waiting", results.memory["peak"], 64),
    ]
    if BEFORE:
        targets.append(ratio(f"burst rate of {BEFORE} / this collection's", rates["before"], rates["bundled"], 2))
    burst_header = (f"burst of {BURST}", "events/s", "each", "withheld", "its CPU (s)", "brokers' CPU (s)")
    memory = f"{results.memory['peak']:.1f} MiB at the peak, {results.memory['store']:.0f} MiB of store"
    return f"""{table(burst_header, bursts)}

{table(("latency (ms)", "p50", "p99", "max", "events"), latencies)}

{table(TARGETS_HEADER, targets)}

Medians of {len(results.samples["bundled"])} turns on Debian {hosts.RELEASE}. The disk syncs 4 KiB in {results.sync:.2f} ms.
Withheld: not there {WITHHELD_AFTER} s after the last event that came. CPU with ssh's.
{WAITING} events waiting: {memory}; then published within {results.memory["drained"]:.0f} s."""
