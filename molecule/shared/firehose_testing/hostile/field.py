# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of an attack: the target, source addresses, the time limit, and counters."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import random
import time
import typing as t

from . import wire
from .target import Listener, Target

Attempt = t.TypeVar("Attempt")


@dataclasses.dataclass
class Field:
    """The environment of one attack. `through` counts successes that the attack itself notices."""

    target: Target
    sources: t.Sequence[str]
    seconds: float
    long: bool
    seed: int
    tried: int = 0
    through: int = 0
    notes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._sources = itertools.cycle(self.sources)
        self._ends = time.monotonic() + self.seconds
        # Each attempt is made once, however long it takes, but no attack runs for ever.
        self._ends_at_last = time.monotonic() + 3 * self.seconds + 10

    @property
    def left(self) -> float:
        """The remaining seconds."""
        return max(self._ends - time.monotonic(), 0)

    async def connect(self, listener: Listener, **options: t.Any) -> wire.Connection:
        """Connect once, from the next address."""
        return await wire.connect(listener, next(self._sources), **options)

    async def insist(self, listener: Listener, **options: t.Any) -> wire.Connection:
        """Connect, and retry until it succeeds: an attempt that did not reach the broker proves nothing."""
        while True:
            try:
                return await self.connect(listener, timeout=3, **options)
            except wire.FAILURES:
                self.notes["connection refused"] += 1
                if time.monotonic() > self._ends_at_last:
                    raise
                await asyncio.sleep(0.2)

    async def each(
        self,
        attempts: t.Sequence[Attempt],
        function: t.Callable[[Attempt], t.Awaitable[None]],
        at_once: int = 16,
        again: bool | None = None,
    ) -> None:
        """Call a function for each attempt. In the long form or on request, repeat all of them until the time is over."""
        again = self.long if again is None else again
        waiting = iter(itertools.cycle(attempts) if again else attempts)
        first = iter(range(len(attempts)))

        async def work() -> None:
            for attempt in waiting:
                if next(first, None) is None and not self.left:
                    return
                if time.monotonic() > self._ends_at_last:
                    self.notes["not tried for want of time"] += 1
                    return
                with contextlib.suppress(*wire.FAILURES):
                    await function(attempt)

        await asyncio.gather(*(work() for _worker in range(at_once)))

    async def hold(self) -> None:
        """Wait until the time is over."""
        await asyncio.sleep(self.left)
