# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The regular readers: one for each listener that stays connected, and new clients that expect to be served at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import typing as t

from . import events, packets, report, wire
from .target import Listener, Login, Target, make_target

VERSION = packets.V3
NEWCOMER_EVERY, NEWCOMER_PATIENCE = 2.5, 15.0


class Reader:
    """Subscribes, reports received events, and reconnects after a disconnection."""

    def __init__(self, name: str, listener: Listener, filters: t.Sequence[str], login: Login | None = None) -> None:
        self._name, self._listener, self._filters, self._login = name, listener, filters, login
        self._numbers: list[int] = []
        self._delays: list[float] = []

    def _hello(self) -> bytes:
        if self._login:
            login = self._login
            return packets.connect(VERSION, login.client_id, username=login.username, password=login.password)
        return packets.connect(VERSION)

    async def _read(self) -> None:
        connection = await wire.connect(self._listener)
        await wire.log_in(connection, VERSION, self._hello(), self._filters)
        await connection.until(packets.SUBACK)
        report.tell("reader connected", who=self._name)
        pinging = asyncio.create_task(self._ping(connection))
        try:
            while True:
                got = await connection.packet()
                if got.kind == packets.PUBLISH:
                    self._take(*packets.parse_publish(VERSION, got))
        finally:
            pinging.cancel()

    async def _ping(self, connection: wire.Connection) -> None:
        while True:
            await asyncio.sleep(20)
            await connection.send(packets.PINGREQ)

    def _take(self, topic: str, payload: bytes) -> None:
        event = events.read(payload)
        if event:
            self._numbers.append(event[0])
            self._delays.append(round(time.time() - event[1], 4))
        elif not payload.startswith(events.KEPT) and not topic.startswith("$SYS/broker/"):
            report.tell("foreign", who=self._name, topic=topic, payload=payload[:200].decode(errors="replace"))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            numbers, self._numbers, delays, self._delays = self._numbers, [], self._delays, []
            report.tell("got", who=self._name, numbers=numbers, delays=delays)

    async def run(self) -> None:
        telling = asyncio.create_task(self._tell())
        while not telling.done():
            try:
                await self._read()
            except wire.FAILURES as exc:
                report.tell("reader lost", who=self._name, reason=repr(exc))
                await asyncio.sleep(0.2)


async def newcomer(listener: Listener, source: str | None) -> None:
    """Connect, subscribe and wait for an event. Report how long that took, and at which step it ended."""
    begun, step, connection = time.monotonic(), "connection", None

    async def be_served() -> None:
        nonlocal connection, step
        connection = await wire.connect(listener, source, timeout=NEWCOMER_PATIENCE)
        step = "CONNACK"
        await wire.log_in(connection, VERSION, packets.connect(VERSION), ["#"])
        step = "SUBACK"
        await connection.until(packets.SUBACK, NEWCOMER_PATIENCE)
        step = "event"
        while True:
            [*_others, got] = await connection.until(packets.PUBLISH, NEWCOMER_PATIENCE)
            if events.read(packets.parse_publish(VERSION, got)[1]):
                return

    what = {"who": str(listener), "transport": listener.transport, "begun": time.time()}
    report.tell("newcomer begins", **what)
    try:
        await asyncio.wait_for(be_served(), NEWCOMER_PATIENCE)
        report.tell("newcomer", seconds=time.monotonic() - begun, **what)
    except wire.FAILURES as exc:
        report.tell("newcomer", seconds=None, failed=f"{step}: {exc!r}", **what)
    finally:
        if connection:
            with contextlib.suppress(*wire.FAILURES):
                await connection.send(packets.DISCONNECT)
            connection.vanish()


async def newcomers(listener: Listener, sources: t.Iterator[str], delay: float) -> None:
    """New clients start in turn, each from its own address, without waiting for the one before."""
    tasks: set[asyncio.Task[None]] = set()
    await asyncio.sleep(delay)
    while True:
        tasks.add(task := asyncio.create_task(newcomer(listener, next(sources))))
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(NEWCOMER_EVERY)


def parts(told: t.Mapping[str, t.Any]) -> list[t.Coroutine[t.Any, t.Any, None]]:
    """The programs of this container: the anonymous readers, or the watcher."""
    target: Target = make_target(told["target"], told["host"])
    if told["watch"]:
        login = target.watcher
        return [Reader("watcher", login.listener, target.watched, login).run()]
    found = [Reader(str(listener), listener, ["#"]).run() for listener in target.listeners]
    sources = itertools.cycle(told["sources"])
    for place, listener in enumerate(target.listeners):
        found.append(newcomers(listener, sources, NEWCOMER_EVERY * (place + 1) / (len(target.listeners) + 1)))
    return found


async def main() -> None:
    tasks = [asyncio.create_task(part) for part in parts(report.told())]
    await asyncio.get_running_loop().run_in_executor(None, report.ended)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
