# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The regular publisher: numbered events at an even pace, at QoS 1, which are retried until they are acknowledged."""

from __future__ import annotations

import asyncio
import collections
import time

from . import events, packets, report, wire
from .target import Login, make_target

RATE = 50
KEEPALIVE = 20


class Publisher:
    """Resends events on a new connection that were not acknowledged on the connection before."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._made = 0
        self._waiting: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._sent: list[tuple[int, float]] = []

    async def _connect(self) -> wire.Connection:
        login = self._login
        connection = await wire.connect(login.listener)
        hello = packets.connect(
            packets.V3, login.client_id, username=login.username, password=login.password, keepalive=KEEPALIVE
        )
        await wire.log_in(connection, packets.V3, hello)
        return connection

    async def _acknowledged(self, connection: wire.Connection) -> None:
        while True:
            got = await connection.packet()
            if got.kind == 4:
                self._waiting.pop(int.from_bytes(got.body[:2], "big"), None)

    async def _send(self, connection: wire.Connection) -> None:
        for number, data in list(self._waiting.items()):
            await connection.send(packets.publish(packets.V3, events.TOPIC, data, qos=1, number=number))
        start, first = time.monotonic(), self._made
        while True:
            await asyncio.sleep(max(start + (self._made - first) / RATE - time.monotonic(), 0))
            number, data = self._made % 65535 + 1, events.event(self._made)
            self._sent.append((self._made, time.time()))
            self._made, self._waiting[number] = self._made + 1, data
            await connection.send(packets.publish(packets.V3, events.TOPIC, data, qos=1, number=number))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            sent, self._sent = self._sent, []
            report.tell("sent", events=sent, waiting=len(self._waiting))

    async def run(self) -> None:
        telling = asyncio.create_task(self._tell())
        while not telling.done():
            try:
                connection = await self._connect()
                report.tell("publisher connected")
                await asyncio.gather(self._send(connection), self._acknowledged(connection))
            except wire.FAILURES as exc:
                report.tell("publisher lost", reason=repr(exc))
                await asyncio.sleep(0.5)


async def main() -> None:
    told = report.told()
    task = asyncio.create_task(Publisher(make_target(told["target"], told["host"]).publisher).run())
    await asyncio.get_running_loop().run_in_executor(None, report.ended)
    task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
