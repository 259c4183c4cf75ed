# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many subscribers that reconnect by themselves, each to the next host when its own fails. One thread serves all of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import threading
import time
import typing as t

from .hostile import packets
from .waiting import wait_until

# A client that receives nothing for this time sends a ping, and considers the host lost if no answer arrives in the
# same time.
SILENCE = 3
PAUSE = 0.2
# The time limit for all clients to connect, or to receive a message.
MOVE_TIMEOUT = 30
# Longer than a test, since a client sends nothing while events arrive.
KEEPALIVE = 600
CONNECT = packets.connect(packets.V3, keepalive=KEEPALIVE)


def _split(data: bytearray) -> t.Iterator[packets.Packet]:
    """Remove complete packets from the start of the received data."""
    while True:
        try:
            size, start = packets.read_length(data, 1)
        except IndexError:
            return
        if len(data) < start + size:
            return
        yield packets.Packet(data[0], bytes(data[start : start + size]))
        del data[: start + size]


@dataclasses.dataclass
class Stay:
    """A connection to a host, and the numbers that arrived over it."""

    host: str
    since: float
    numbers: list[int] = dataclasses.field(default_factory=list)
    until: float | None = None
    why: str = ""

    def __repr__(self) -> str:
        return f"{self.host} {self.since:.1f}-{self.until or 0:.1f} {self.numbers[:1]}-{self.numbers[-1:]} {self.why}"


class Roamer:
    """A subscriber to the topic with the numbers."""

    def __init__(self, addresses: t.Mapping[str, str], first: int, topic: str) -> None:
        self.stays: list[Stay] = []
        names = [*addresses]
        self._hosts = itertools.cycle(names[first:] + names[:first])
        self._addresses, self._topic = addresses, topic

    @property
    def host(self) -> str | None:
        """The current host."""
        return self.stays[-1].host if self.stays and self.stays[-1].until is None else None

    async def roam(self) -> None:
        """Stay connected, for ever."""
        for host in self._hosts:
            with contextlib.suppress(OSError):  # TimeoutError is one
                await self._visit(host)
            await asyncio.sleep(PAUSE)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE):
                return await reader.read(65536)
        writer.write(packets.PINGREQ)
        async with asyncio.timeout(SILENCE):
            return await reader.read(65536)

    async def _visit(self, host: str) -> None:
        async with asyncio.timeout(SILENCE):
            reader, writer = await asyncio.open_connection(self._addresses[host], 1883)
        stay, why = None, "ended by the other side"
        try:
            writer.write(CONNECT + packets.subscribe(packets.V3, [self._topic]))
            data = bytearray()
            while received := await self._read(reader, writer):
                data += received
                for packet in _split(data):
                    if packet.kind == packets.SUBACK:
                        stay = Stay(host, time.monotonic())
                        self.stays.append(stay)
                    elif packet.kind == packets.PUBLISH and stay:
                        stay.numbers.append(int(packets.parse_publish(packets.V3, packet)[1]))
        except OSError as exc:
            why = repr(exc)
            raise
        finally:
            if stay:
                stay.until, stay.why = time.monotonic(), why
            writer.close()


class Crowd:
    """Many subscribers, evenly on all hosts. Entering it returns when all are connected."""

    def __init__(self, addresses: t.Mapping[str, str], topic: str, count: int) -> None:
        self.roamers = [Roamer(addresses, number % len(addresses), topic) for number in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> t.Self:
        self._thread.start()
        self._tasks = [asyncio.run_coroutine_threadsafe(roamer.roam(), self._loop) for roamer in self.roamers]
        wait_until(lambda: all(roamer.host for roamer in self.roamers), "all are connected", MOVE_TIMEOUT)
        return self

    def __exit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        # Cancelled tasks close their connections in the loop's next rounds.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def at(self, host: str) -> list[Roamer]:
        """The clients that are connected to a host."""
        return [roamer for roamer in self.roamers if roamer.host == host]

    def wait_for(self, number: int) -> None:
        """Wait until a number has reached all connected clients."""
        wait_until(
            lambda: all(roamer.host and roamer.stays[-1].numbers[-1:] >= [number] for roamer in self.roamers),
            f"{number} has come to all",
            MOVE_TIMEOUT,
        )


def gaps(stay: Stay) -> list[tuple[int, int]]:
    """Missing or late numbers: the first copy of each number must be in its place."""
    return [(one, other) for one, other in itertools.pairwise(dict.fromkeys(stay.numbers)) if other != one + 1]
