# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The highest rate at which nothing is lost."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of events that were published at some rate, in seconds since the first of them was due."""

    events: int
    expected: int
    received: int
    disordered: int
    cut: int
    acknowledged: int
    published: float
    first: float
    last: float
    # Milliseconds
    p50: float
    p99: float
    # Seconds of the processors, by the name of the process, and the client's own
    cpu: t.Mapping[str, float]
    client_cpu: float
    # The most memory that all processes had, in bytes
    peak: float

    @property
    def lossless(self) -> bool:
        """Whether each subscriber got each event, in its order."""
        return self.received == self.expected and not (self.disordered or self.cut)

    @property
    def rate(self) -> float:
        """Deliveries a second, from the first to the last of them."""
        return self.received / max(self.last - self.first, 1e-6)

    def per_delivery(self, name: str) -> float:
        """Microseconds of the processors that a process took for each delivery."""
        return self.cpu.get(name, 0.0) * 1e6 / max(self.received, 1)


def highest_lossless(first: Trial, attempt: t.Callable[[float], Trial], attempts: int) -> Trial | None:
    """The best of some attempts without a loss. The first was as fast as possible; after a loss slower ones follow.

    What got through then says about how many events a second there can be: that many is tried, and then halves of what is left.
    """
    if first.lossless:
        return first
    best = None
    least, most = 0.0, first.rate * first.events / max(first.expected, 1)
    rate = most
    for _attempt in range(attempts):
        if not rate:
            return None
        trial = attempt(rate)
        if trial.lossless:
            least = rate
            best = trial if best is None or trial.rate > best.rate else best
        else:
            most = rate
        if least == most:
            break
        rate = (least + most) / 2
    return best
