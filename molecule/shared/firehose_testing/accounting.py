# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounting of events in a test run: pure functions."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import typing as t

COLUMNS = (
    "emitted",
    "stored",
    "acknowledged",
    "received",
    "duplicates",
    "reach",
    "in_gaps",
    "lost_by_broker",
    "uncovered",
    "silence",
)


@dataclasses.dataclass(frozen=True)
class Received:
    """An event as a reader received it: time, topic and number."""

    moment: float
    topic: str
    number: int


@dataclasses.dataclass(frozen=True)
class Account:
    """The accounting of all emitted events.

    `reach` is how far behind the newest event an event was repeated, and `silence` the longest time without an event, in seconds.
    """

    emitted: int
    stored: int
    acknowledged: int
    received: int
    duplicates: int
    reach: int
    in_gaps: int
    lost_by_broker: int
    uncovered: int
    silence: float
    disordered: list[str]


def make_account(
    created: t.Sequence[int],
    received: t.Sequence[Received],
    gaps: t.Sequence[tuple[int, int]],
    stored: int,
    acknowledged: int,
) -> Account:
    """Account for events. `created` has the second in which each was made, by its number.

    Events that the broker acknowledged and no reader received are lost by the broker. Every other missing event must be in a gap.
    """
    numbers = {one.number for one in received}
    missing = [moment for number, moment in enumerate(created) if number not in numbers]
    in_gaps = sum(any(start <= moment <= end for start, end in gaps) for moment in missing)
    # germqtt may have removed acknowledged events.
    lost_by_broker = max(acknowledged - len(numbers), 0)
    return Account(
        emitted=len(created),
        stored=stored,
        acknowledged=acknowledged,
        received=len(numbers),
        duplicates=len(received) - len(numbers),
        reach=_reach(received),
        in_gaps=in_gaps,
        lost_by_broker=lost_by_broker,
        uncovered=max(len(missing) - in_gaps - lost_by_broker, 0),
        silence=max((b.moment - a.moment for a, b in itertools.pairwise(received)), default=0.0),
        disordered=sorted(_disordered(received)),
    )


def _reach(received: t.Iterable[Received]) -> int:
    newest, farthest = -1, 0
    for one in received:
        newest = max(newest, one.number)
        farthest = max(farthest, newest - one.number)
    return farthest


def _disordered(received: t.Iterable[Received]) -> set[str]:
    """The topics with a missing event in the first delivery or a repetition. A repetition may start at any event."""
    numbers = collections.defaultdict(list)
    for one in received:
        numbers[one.topic].append(one.number)
    found = set()
    for topic, those in numbers.items():
        places = {number: place for place, number in enumerate(sorted(set(those)))}
        steps = itertools.pairwise([-1, *(places[number] for number in those)])
        if any(after > before + 1 for before, after in steps):
            found.add(topic)
    return found


def table(accounts: t.Mapping[str, Account]) -> str:
    """The accounting of each failure, as Markdown."""
    rows = [["fault", *(column.replace("_", " ") for column in COLUMNS)], ["---", *(["--:"] * len(COLUMNS))]]
    for fault, account in accounts.items():
        values = [getattr(account, column) for column in COLUMNS]
        rows.append([fault, *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
