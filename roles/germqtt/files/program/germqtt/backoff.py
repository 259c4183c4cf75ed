# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next attempt."""

from __future__ import annotations

import asyncio
import contextlib
import random


class Backoff:
    """Seconds that double from attempt to attempt, with jitter, so that many clients do not come back at once."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self.reset()

    def reset(self) -> None:
        """The attempt was a success: the next delay is a short one again."""
        self._delay = self._first

    def lengthen(self) -> None:
        """The other side wants nothing of us: ask seldom."""
        self._delay = self._longest

    async def sleep(self, unless: asyncio.Event) -> None:
        """Wait for the next delay, or until something has happened."""
        delay = self._delay * random.uniform(0.5, 1)
        self._delay = min(2 * self._delay, self._longest)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(unless.wait(), delay)
