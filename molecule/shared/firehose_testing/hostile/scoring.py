# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an attack, and its effects on other clients: pure functions."""

from __future__ import annotations

import dataclasses
import typing as t

Record = t.Mapping[str, t.Any]
SERVED_WITHIN = 2.0
SERVED_SHARE = 0.95
# Limits: KiB of memory growth that one address may cause, and seconds for 99 of 100 events meanwhile.
MOST_GROWTH, MOST_P99 = 64 * 1024, 0.05


@dataclasses.dataclass(frozen=True)
class Served:
    """New clients of one transport: how many connected, and how many were served in time."""

    tries: int = 0
    served: int = 0

    def __add__(self, other: Served) -> Served:
        return Served(self.tries + other.tries, self.served + other.served)

    def __str__(self) -> str:
        return f"{self.served}/{self.tries}"

    @property
    def enough(self) -> bool:
        return self.served >= SERVED_SHARE * self.tries

    @property
    def almost_all(self) -> bool:
        """With too few clients for a percentage: all but one."""
        return self.enough or self.tries - self.served <= 1


@dataclasses.dataclass(frozen=True)
class Row:
    """One attack. `received` has the numbers of events of each reader, `slowest` the longest delay of one in seconds.

    `p99` is the time in which 99 of 100 events arrived. `kib_sent` and `kib_got` are the attackers' traffic, `cpu` the seconds of all services.
    """

    attack: str
    tried: int
    through: int
    forbidden: bool
    sent: int
    received: dict[str, int]
    slowest: float
    newcomers: dict[str, Served]
    publisher_lost: int
    memory_before: int
    memory_peak: int
    restarts: int
    p99: float
    cpu: float
    kib_sent: int
    kib_got: int

    @property
    def missed(self) -> dict[str, int]:
        """How many events each reader has missed."""
        return {who: self.sent - count for who, count in self.received.items() if count < self.sent}


def within(records: t.Iterable[Record], kind: str, start: float, end: float, moment: str = "time") -> list[Record]:
    return [record for record in records if record["kind"] == kind and start <= record[moment] < end]


def memory(records: t.Iterable[Record], start: float, end: float) -> int:
    """The largest memory of all services together, in KiB."""
    return max((sum(record["peaks"].values()) for record in within(records, "memory", start, end)), default=0)


def cpu(records: t.Iterable[Record], start: float, end: float) -> float:
    """The CPU seconds that all services together have used. A restarted service begins at 0."""
    moments = [record["cpu"] for record in within(records, "memory", start, end)]
    return sum(max(after - before, 0.0) for before, after in zip(moments, moments[1:]))


def served(records: t.Iterable[Record], start: float, end: float) -> dict[str, Served]:
    """The new clients of a period, by transport."""
    found: dict[str, Served] = {}
    for record in within(records, "newcomer", start, end, "begun"):
        seconds = record["seconds"]
        one = Served(1, int(seconds is not None and seconds <= SERVED_WITHIN))
        found[record["transport"]] = found.get(record["transport"], Served()) + one
    return found


def foreign(records: t.Iterable[Record], start: float, end: float) -> set[tuple[str, str]]:
    """Received messages that the regular publisher did not send: topics and payloads."""
    return {(record["topic"], record["payload"]) for record in within(records, "foreign", start, end)}


def make_row(
    name: str,
    forbidden: bool,
    outcome: Record,
    records: t.Sequence[Record],
    readers: t.Iterable[str],
    start: float,
    end: float,
) -> Row:
    """Account for an attack between two moments. Records must extend beyond the end, since events take time."""
    numbers = {
        number
        for record in records
        if record["kind"] == "sent"
        for number, moment in record["events"]
        if start <= moment < end
    }
    received: dict[str, set[int]] = {who: set() for who in readers}
    delays: list[float] = []
    for record in records:
        if record["kind"] == "got" and record["who"] in received:
            received[record["who"]].update(numbers.intersection(record["numbers"]))
            if numbers.intersection(record["numbers"]):
                delays += record["delays"]
    delays.sort()
    traffic = outcome.get("traffic", {})
    lost = len(within(records, "publisher lost", start, end))
    return Row(
        attack=name,
        tried=outcome["tried"],
        through=outcome["through"] + len(foreign(records, start, end)) + (lost if forbidden else 0),
        forbidden=forbidden,
        sent=len(numbers),
        received={who: len(got) for who, got in received.items()},
        slowest=delays[-1] if delays else 0.0,
        p99=delays[len(delays) * 99 // 100] if delays else 0.0,
        cpu=cpu(records, start, end),
        kib_sent=traffic.get("sent", 0) // 1024,
        kib_got=traffic.get("got", 0) // 1024,
        newcomers=served(records, start, end),
        publisher_lost=lost,
        memory_before=memory(records, start - 2, start),
        memory_peak=memory(records, start, end),
        restarts=len(within(records, "restarted", start, end)),
    )


def failures(row: Row, most_memory: int, strict: bool) -> list[str]:
    """Forbidden results of an attack. Only the long form has enough new clients to judge by."""
    found = []
    if row.forbidden and row.through:
        found.append(f"{row.through} got through")
    found += [f"{who} missed {count} of {row.sent} events" for who, count in row.missed.items()]
    if not row.sent:
        found.append("the publisher sent nothing")
    if row.publisher_lost:
        found.append(f"the publisher was cut off {row.publisher_lost} times")
    if row.restarts:
        found.append(f"{row.restarts} restarts")
    if row.memory_peak > most_memory * 1024:
        found.append(f"{row.memory_peak // 1024} MiB are more than {most_memory}")
    if strict:
        found += [f"{who}: newcomers served {one}" for who, one in row.newcomers.items() if not one.almost_all]
    return found


def cost_failures(row: Row, quiet: float, strict: bool) -> list[str]:
    """Effects of one address on other clients that exceed the limit, compared with the time for 99 of 100 events without an attack."""
    found = []
    if row.memory_peak - row.memory_before > MOST_GROWTH:
        found.append(f"{(row.memory_peak - row.memory_before) // 1024} MiB more memory")
    if strict and row.p99 > max(2 * quiet, MOST_P99):
        found.append(f"1 of 100 events takes longer than {row.p99:.3f} s")
    return found


def table(rows: t.Sequence[Row]) -> str:
    """All attacks, as Markdown."""
    transports = sorted({transport for row in rows for transport in row.newcomers})
    readers = sorted({reader for row in rows for reader in row.received})
    titles = [
        "attack",
        "tried",
        "got through",
        "events sent",
        *(f"received, {reader}" for reader in readers),
        "slowest, s",
        "p99, s",
        "KiB up",
        "KiB down",
        "CPU, s",
    ]
    titles += [
        *(f"newcomers, {transport}" for transport in transports),
        "publisher cut off",
        "MiB before",
        "at peak",
        "restarts",
    ]
    lines = [titles, ["---", *(["--:"] * (len(titles) - 1))]]
    for row in rows:
        lines.append(
            [
                row.attack,
                str(row.tried),
                f"{row.through}{'' if row.forbidden else ' (may)'}",
                str(row.sent),
                *(str(row.received.get(reader, "")) for reader in readers),
                f"{row.slowest:.2f}",
                f"{row.p99:.3f}",
                str(row.kib_sent),
                str(row.kib_got),
                f"{row.cpu:.1f}",
                *(str(row.newcomers.get(transport, "")) for transport in transports),
                str(row.publisher_lost),
                f"{row.memory_before / 1024:.1f}",
                f"{row.memory_peak / 1024:.1f}",
                str(row.restarts),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
