# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred subscribers of one broker, and a publisher, which record their losses."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import threading
import time
import typing as t

from firehose_testing.hostile import packets, wire
from firehose_testing.hostile.target import Listener

SIZE = 200
EVERY = 0.25
# The clients of this module send no keepalive.
KEEPALIVE = 7200
FEED = "feed/number"
# The number of clients for each way, of ten subscribers.
MIX = [("tcp", 1883, False)] * 7 + [("websockets", 80, False)] + [("tcp", 8883, True)] + [("websockets", 443, True)]


@dataclasses.dataclass
class Losses:
    """The losses of a crowd since the last query."""

    connections: int = 0
    events: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def __bool__(self) -> bool:
        return bool(self.connections or self.events)


class Crowd:
    """The clients are connected while it is entered."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self._address, self._name, self._password = address, name, password
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connected = 0
        self._received = 0
        self._losses = Losses()

    def __enter__(self) -> Crowd:
        self._thread.start()
        parts = [
            self._subscribe(Listener(self._address, port, way, tls)) for way, port, tls in MIX * (SIZE // len(MIX))
        ]
        # The event loop alone does not keep its tasks from being garbage collected.
        self._tasks = [asyncio.run_coroutine_threadsafe(part, self._loop) for part in (self._publish(), *parts)]
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def settle(self, timeout: float = 60) -> None:
        """Return when all clients are connected and events arrive. Earlier losses do not count."""
        deadline = time.monotonic() + timeout
        while self._connected < SIZE:
            assert time.monotonic() < deadline, f"only {self._connected} of {SIZE} are connected: {self._losses}"
            time.sleep(0.1)
        self.listen()
        self._losses = Losses()

    def listen(self, timeout: float = 20) -> None:
        """Return when two more events have reached every client."""
        wanted, deadline = self._received + 2 * SIZE, time.monotonic() + timeout
        while self._received < wanted:
            assert time.monotonic() < deadline, f"nothing comes any more: {self._losses}"
            time.sleep(0.05)

    @property
    def losses(self) -> Losses:
        """The losses since the last call."""
        self.listen()
        lost, self._losses = self._losses, Losses()
        return lost

    async def _publish(self) -> None:
        number = 0
        while True:
            with self._losing():
                connection = await wire.connect(Listener(self._address, 1883))
                with vanishing(connection):
                    hello = packets.connect(packets.V3, username=self._name, password=self._password)
                    await wire.log_in(connection, packets.V3, hello)
                    while True:
                        number += 1
                        await connection.send(packets.publish(packets.V3, FEED, b"%d" % number))
                        await asyncio.sleep(EVERY)
            await asyncio.sleep(0.5)

    async def _subscribe(self, listener: Listener) -> None:
        while True:
            with self._losing():
                connection = await wire.connect(listener, timeout=60)
                with vanishing(connection):
                    await wire.log_in(connection, packets.V3, packets.connect(packets.V3, keepalive=KEEPALIVE), [FEED])
                    await connection.until(packets.SUBACK)
                    self._connected += 1
                    try:
                        await self._read(connection)
                    finally:
                        self._connected -= 1
            await asyncio.sleep(0.5)

    async def _read(self, connection: wire.Connection) -> t.NoReturn:
        last = 0
        while True:
            got = await connection.packet()
            if got.kind == packets.PUBLISH:
                number = int(packets.parse_publish(packets.V3, got)[1])
                self._losses.events += number - last - 1 if last else 0
                self._received += 1
                last = number

    @contextlib.contextmanager
    def _losing(self) -> t.Iterator[None]:
        try:
            yield
        except wire.FAILURES as exc:
            self._losses.connections += 1
            self._losses.reasons[repr(exc)[:80]] += 1


@contextlib.contextmanager
def vanishing(connection: wire.Connection) -> t.Iterator[None]:
    """Close the connection after an error."""
    try:
        yield
    finally:
        connection.vanish()
