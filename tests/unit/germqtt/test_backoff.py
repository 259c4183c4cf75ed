# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The delay before the next attempt."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from germqtt import backoff


@pytest.fixture
def slept(monkeypatch):
    """The recorded delays, without real waiting."""
    found = []

    async def wait_for(waiting, delay):
        waiting.close()
        found.append(delay)
        raise TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", wait_for)
    return found


def sleep(delays: backoff.Backoff, times: int) -> None:
    async def main() -> None:
        for _time in range(times):
            await delays.sleep(unless=asyncio.Event())

    asyncio.run(main())


def test_delays_double_up_to_the_longest(slept, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    delays = backoff.Backoff(1, 60)
    sleep(delays, 9)
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_resets_the_delay_and_a_rejection_maximizes_it(slept, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    delays = backoff.Backoff(1, 60)
    sleep(delays, 3)
    delays.reset()
    sleep(delays, 2)
    delays.lengthen()
    sleep(delays, 2)
    assert slept == [1, 2, 4, 1, 2, 60, 60]


def test_delays_are_random(slept):
    delays = backoff.Backoff(1, 60)
    for _time in range(200):
        delays.reset()
        sleep(delays, 1)
    assert len(set(slept)) > 100
    assert all(0.5 <= delay <= 1 for delay in slept)


def test_an_event_ends_the_wait():
    async def main() -> None:
        happened = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, happened.set)
        await backoff.Backoff(60, 60).sleep(unless=happened)
        await backoff.Backoff(60, 60).sleep(unless=happened)

    begin = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begin < 5
