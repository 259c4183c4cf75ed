# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every attack is given: the target, addresses to come from, the time it has, and where it counts."""

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
    """One attack's. `through` counts what the attack itself sees of its success."""

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
        # Each attempt is made once, whatever time that takes, but no attack lasts for ever.
        self._ends_at_last = time.monotonic() + 3 * self.seconds + 10

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return max(self._ends - time.monotonic(), 0)

    async def connect(self, listener: Listener, **options: t.Any) -> wire.Connection:
        """Connect once, from the next address."""
        return await wire.connect(listener, next(self._sources), **options)

    async def insist(self, listener: Listener, **options: t.Any) -> wire.Connection:
        """Connect, and go on until it succeeds, for an attempt says nothing that has not reached the broker."""
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
        """Call a function for each attempt, and then, in the long form or if told to, for all of them again while there is time."""
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
        """Do nothing until the time is over."""
        await asyncio.sleep(self.left)
