# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measured cases: subscribers, events, sizes, transports and repetitions."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from measure import BenchError

# Rates in events a second, and the number of measured events. More than MOST_PACED deliveries a second are a burst for
# most contenders.
PACED = {5: 15, 20: 60, 60: 120}
MOST_PACED = 60_000
# The time to deliver this number of events is measured everywhere.
BURST = 500
# Seconds for all subscribers to connect: Mosquitto 2.0 accepts only a few a second over websockets.
CONNECT_SECONDS = 30
# A process with at most 1024 open files has fewer subscribers than this.
STOCK_LIMIT = 1000


@dataclasses.dataclass(frozen=True)
class Case:
    """A number of subscribers, and a burst to find the highest lossless rate. Repeated cases have targets."""

    name: str
    subscribers: int
    size: int = 1024
    transport: t.Literal["tcp", "websockets"] = "tcp"
    events: int = 2000
    repeated: bool = False
    # The number of slower bursts after a burst with a loss
    attempts: int = 5

    @property
    def paced(self) -> list[int]:
        """The paced rates, in events a second."""
        return [rate for rate in PACED if rate * self.subscribers <= MOST_PACED]

    @property
    def what(self) -> str:
        """The name in the tables."""
        size = f"{self.size / 1024:.1f}".rstrip("0").rstrip(".")
        return f"{self.subscribers} x {size} KB{', websockets' if self.transport == 'websockets' else ''}"


ALL = [
    Case("1", 1, events=5000),
    Case("100", 100, repeated=True),
    Case("1000", 1000, events=BURST, repeated=True),
    Case("100-small", 100, size=205),
    Case("100-large", 100, size=10240, events=BURST),
    Case("5000", 5000, events=BURST, attempts=1),
    Case("1-websockets", 1, transport="websockets", events=5000),
    Case("100-websockets", 100, transport="websockets"),
    Case("1000-websockets", 1000, transport="websockets", events=BURST),
]


def selected(names: t.Sequence[str], variable: str) -> list[str]:
    """The names in an environment variable, or all names."""
    wanted = os.environ.get(variable, "").split() or list(names)
    if unknown := set(wanted) - set(names):
        raise BenchError(f"{variable} must have names of {' '.join(names)}, not {' '.join(sorted(unknown))}")
    return [name for name in names if name in wanted]
