# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables."""

from __future__ import annotations

import os
import statistics
import typing as t

from measure import ALL_TARGETS_HEADER, at_least, ratio, table

from fanout import cases, contenders
from fanout.cases import BURST, Case
from fanout.contenders import Contender
from fanout.sample import Sample, Samples
from fanout.search import Trial

Row = tuple[str, ...]


def median(samples: t.Sequence[Sample], value: t.Callable[[Sample], float | None], digits: int = 0) -> str:
    """The median of the available values."""
    there = [number for each in samples if (number := value(each)) is not None]
    return f"{statistics.median(there):.{digits}f}" if there else "-"


def names(samples: Samples, case: Case) -> t.Iterator[tuple[Contender, t.Sequence[Sample]]]:
    """The contenders that were measured in a case, with their results."""
    for contender in contenders.ALL:
        if those := samples.get((contender.name, case.name)):
            yield contender, those


def label(contender: Contender, case: Case) -> str:
    """The name of a row, with its settings."""
    raised = contender.name == "stock" and case.subscribers >= cases.STOCK_LIMIT
    return f"{contender.what}{' (LimitNOFILE raised)' if raised else ''}"


def cpu(trial: Trial | None, contender: Contender) -> str:
    """Microseconds per delivery, of each process."""
    return " + ".join(f"{trial.per_delivery(name):.1f}" for name in contender.processes) if trial else "-"


def loss(trial: Trial | None) -> str:
    """The lost fraction."""
    return f"{1 - trial.received / trial.expected:.1%}" if trial else "-"


def too_slow(those: t.Sequence[Sample]) -> str | None:
    """The reason if there are no other results."""
    if those[0].fastest:
        return None
    return f"not measured: accepts {those[0].subscribed / max(those[0].seconds, 1e-3):.0f} a second"


def bursts(samples: Samples, case: Case) -> str:
    """The highest rates."""
    rows: list[Row] = []
    for contender, those in names(samples, case):
        if why := too_slow(those):
            rows.append((label(contender, case), *["-"] * 7, why))
            continue
        client = [each.lossless.client_cpu / each.lossless.last for each in those if each.lossless]
        rows.append(
            (
                label(contender, case),
                median(those, lambda each: each.lossless.rate if each.lossless else None),
                " ".join(f"{each.lossless.rate:.0f}" if each.lossless else "-" for each in those),
                cpu(those[0].lossless, contender),
                f"{statistics.median(client):.0%}" if client else "-",
                median(those, lambda each: each.fastest.rate if each.fastest else None),
                " ".join(loss(each.fastest) for each in those),
                median(those, lambda each: each.burst.last * 1000 if each.burst else None),
                " ".join(loss(each.burst) for each in those),
            )
        )
    header = ("lossless/s", "each", "CPU (us)", "client's CPU", "fastest/s", "lost", f"{BURST} out (ms)", "lost")
    return table((f"{case.what}: burst of {case.events}", *header), rows)


def paced(samples: Samples, case: Case) -> str:
    """The cost and the delay of a single event."""
    rows: list[Row] = []
    for contender, those in names(samples, case):
        if not those[0].paced:
            continue
        cells: list[str] = []
        for rate in case.paced:
            trials = [each.paced[rate] for each in those]
            middle = sorted(trials, key=lambda trial: sum(trial.cpu.values()))[len(trials) // 2]
            late = [f"{statistics.median(getattr(trial, part) for trial in trials):.1f}" for part in ("p50", "p99")]
            lost = max(trials, key=lambda trial: trial.expected - trial.received)
            cells += [cpu(middle, contender), *late, loss(lost)]
        rows.append((label(contender, case), *cells))
    if not rows:
        return ""
    header = [title for rate in case.paced for title in (f"{rate}/s: CPU (us)", "p50", "p99", "lost")]
    return table((f"{case.what}: paced, latency (ms)", *header), rows)


def memories(samples: Samples) -> str:
    """The memory of subscribers."""
    rows: list[Row] = []
    for case in cases.ALL:
        for contender, those in names(samples, case):
            if too_slow(those):
                continue
            rows.append(
                (
                    f"{case.what}: {label(contender, case).strip()}",
                    median(those, lambda each: each.before / 2**20, 1),
                    median(those, lambda each: (each.connected - each.before) / each.subscribed / 1024, 1),
                    median(those, lambda each: each.peak / 2**20, 1),
                    median(those, lambda each: each.subscribed / each.seconds),
                )
            )
    return table(("memory", "before (MiB)", "KiB a subscriber", "peak (MiB)", "accepted/s"), rows)


def rates(samples: Samples, name: str, case: str) -> list[float]:
    """The highest lossless rates of all turns."""
    return [each.lossless.rate if each.lossless else 0.0 for each in samples.get((name, case), ())]


def costs(samples: Samples, name: str, case: str, rate: int) -> list[float]:
    """CPU seconds per delivery, of all processes, in all turns."""
    trials = [each.paced[rate] for each in samples.get((name, case), ()) if rate in each.paced]
    return [sum(trial.cpu.values()) / max(trial.received, 1) for trial in trials]


# Compared with stock Mosquitto: lossless deliveries by number of subscribers with 2 CPUs, and CPU per delivery.
TIERS = {"core": "core host", "edge": "edge host"}
LEAST_RATES = {"100": 2.5, "1000": 2.2}
MOST_CPU = 1.9


def targets(samples: Samples) -> list[Row]:
    """The targets of the measured values."""
    rows: list[Row] = []
    for name, what in TIERS.items():
        for case, least in LEAST_RATES.items():
            mine, stock = rates(samples, name, case), rates(samples, "stock", case)
            if mine and stock and min(stock) > 0:
                rows.append(at_least(f"{what} / stock, lossless, {case} subscribers", mine, stock, least))
    for name, what in TIERS.items():
        mine, stock = costs(samples, name, "1000", 20), costs(samples, "stock", "1000", 20)
        if mine and stock:
            rows.append(ratio(f"{what} / stock, CPU at 20/s, 1000 subscribers", mine, stock, MOST_CPU))
    if those := samples.get(("core", "5000")):
        served = [float(each.subscribed) for each in those]
        rows.append(at_least("subscribers on the core host, nothing set", served, [1.0] * len(served), 5000))
    return rows


def report(samples: Samples) -> str:
    """All tables."""
    measured = [case for case in cases.ALL if any(names(samples, case))]
    parts = [text for case in measured for text in (bursts(samples, case), paced(samples, case)) if text]
    feed = rates(samples, "edge", "1")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    brought = f"{statistics.median(feed):.0f}" if feed else "not measured here"
    return f"""{chr(10).join(f"{part}{chr(10)}" for part in [*parts, memories(samples)])}
{table(ALL_TARGETS_HEADER, targets(samples))}

{os.cpu_count()} cores and {memory:.0f} GiB, which server and client share. The client's own ceiling is what it takes of the limit that joins 50
to a write, and one core: "client's CPU" says how near it is.
A burst is published as fast as its broker takes it. Where that loses something, the rate that got through is offered, and
halves of what is left, some times: the best without a loss counts, from the first delivery to the last.
Events are published at QoS 1, as germqtt does. Edge hosts get them from a core host, which is not counted, but the time that takes is:
in the latency, and in how long {BURST} events are out. So many events a second it brings them (a burst at 1 subscriber): {brought}.
For each subscriber there cannot be more deliveries than that.
Anonymous clients cannot publish at an edge host, so its brokers cannot be measured without the core host.
CPU: {"; ".join(f"{each.name}: {' + '.join(each.processes)}" for each in contenders.ALL if len(each.processes) > 1)}.
Memory is that of processes, without the kernel's buffers.
Medians of {max(map(len, samples.values()), default=0)} turns where there is a target, else measured once."""
