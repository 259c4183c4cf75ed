# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The highest rate without a loss."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Trial:
    """The results of events that were published at a rate, in seconds since the first of them was due."""

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
    # CPU seconds, by the name of the process, and of the client
    cpu: t.Mapping[str, float]
    client_cpu: float
    # The peak memory of all processes together, in bytes
    peak: float

    @property
    def lossless(self) -> bool:
        """Whether each subscriber received each event, in order."""
        return self.received == self.expected and not (self.disordered or self.cut)

    @property
    def rate(self) -> float:
        """Deliveries a second, from the first to the last."""
        return self.received / max(self.last - self.first, 1e-6)

    def per_delivery(self, name: str) -> float:
        """CPU microseconds of a process per delivery."""
        return self.cpu.get(name, 0.0) * 1e6 / max(self.received, 1)


def highest_lossless(first: Trial, attempt: t.Callable[[float], Trial], attempts: int) -> Trial | None:
    """The best of several attempts without a loss. The first was at full speed; after a loss slower ones follow.

    The delivered events are an estimate of the highest rate: that rate is tried, and then the remaining interval is halved.
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
