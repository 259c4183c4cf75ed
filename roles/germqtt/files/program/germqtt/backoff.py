# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delay before the next attempt."""

from __future__ import annotations

import asyncio
import contextlib
import random


class Backoff:
    """A delay in seconds that doubles with each attempt, with jitter, so that many clients do not reconnect at once."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self.reset()

    def reset(self) -> None:
        """Start again with the shortest delay, after a success."""
        self._delay = self._first

    def lengthen(self) -> None:
        """Use the longest delay, after a rejection by the other side."""
        self._delay = self._longest

    async def sleep(self, unless: asyncio.Event) -> None:
        """Wait for the next delay, or until the event is set."""
        delay = self._delay * random.uniform(0.5, 1)
        self._delay = min(2 * self._delay, self._longest)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(unless.wait(), delay)
