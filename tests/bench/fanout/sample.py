# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One contender in one case."""

from __future__ import annotations

import dataclasses
import typing as t

from measure import BenchError

from fanout.cases import BURST, PACED, Case
from fanout.client import Load, processes
from fanout.contenders import Contender
from fanout.search import Trial, highest_lossless
from fanout.site import Site

# Enough that each broker of an edge host has one.
EACH = 8


@dataclasses.dataclass
class Sample:
    """The results of a sample. Without subscribers it has only the reason."""

    subscribed: int = 0
    # The time to connect them, in seconds
    seconds: float = 0.0
    # Bytes, without subscribers and with them, and the most in a burst
    before: float = 0.0
    connected: float = 0.0
    peak: float = 0.0
    # By rate in events a second
    paced: dict[int, Trial] = dataclasses.field(default_factory=dict)
    burst: Trial | None = None
    # At full speed, and the best one without a loss
    fastest: Trial | None = None
    lossless: Trial | None = None


def memory(contender: Contender) -> float:
    """The memory of all its processes, in bytes."""
    return sum(process["memory"] for process in processes(contender).values())


def settle(load: Load, size: int) -> None:
    """Wait until an event arrives at once: an edge host that was paused first gets the events that it missed."""
    for _attempt in range(60):
        trial = load.run(1, 0, size)
        if trial.lossless and trial.last < 1:
            return
    raise BenchError("no event arrives at all subscribers within a second")


def sample(site: Site, contender: Contender, case: Case) -> Sample:
    """Measure once."""
    site.wake(contender.containers)
    if contender.name == "stock":
        site.raise_stock_limit(case.subscribers)
    with Load(site, contender, "tcp", EACH) as load:
        settle(load, case.size)
    found = Sample(before=memory(contender))
    with Load(site, contender, case.transport, case.subscribers) as load:
        found.subscribed, found.seconds = load.subscribed, load.seconds
        if load.subscribed < case.subscribers:
            return found
        settle(load, case.size)
        found.connected = memory(contender)
        for rate in [] if contender.bursts_only else case.paced:
            found.paced[rate] = load.run(PACED[rate], rate, case.size)
        found.burst = load.run(BURST, 0, case.size)
        found.fastest = found.burst if case.events == BURST else load.run(case.events, 0, case.size)

    def attempt(rate: float) -> Trial:
        # Clients that were disconnected in the last trial are connected again for the next one.
        with Load(site, contender, case.transport, case.subscribers) as load:
            settle(load, case.size)
            return load.run(case.events, rate, case.size)

    found.lossless = highest_lossless(found.fastest, attempt, case.attempts)
    found.peak = max(found.burst.peak, found.fastest.peak)
    return found


def in_short(found: Sample) -> str:
    """A summary for the progress output."""
    if not found.fastest:
        return f"{found.subscribed} connected in {found.seconds:.0f} s"
    got = found.fastest.received / found.fastest.expected
    best = f"{found.lossless.rate:.0f}/s without a loss" if found.lossless else "never without a loss"
    return f"{best}, {got:.1%} as fast as possible"


Samples = t.Mapping[tuple[str, str], t.Sequence[Sample]]
