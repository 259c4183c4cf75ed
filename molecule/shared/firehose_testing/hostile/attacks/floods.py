# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Too many of a permitted action. `through` counts what the firehose accepted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import typing as t

from .. import frames, packets, wire
from ..attack import attack
from ..field import Field
from ..target import Listener

# Longer than an attack, and not longer than a broker may allow.
KEEPALIVE = 120


class Held:
    """Connections that stay open until the other side closes them."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._connections: list[wire.Connection] = []

    def add(self, connection: wire.Connection) -> None:
        self._connections.append(connection)
        self._field.through += 1

    def release(self) -> None:
        for connection in self._connections:
            connection.vanish()


async def flood(
    field: Field,
    listeners: t.Sequence[Listener],
    most: int,
    begin: t.Callable[[wire.Connection], t.Awaitable[None]],
    at_once: int = 64,
    **options: t.Any,
) -> None:
    """Open as many connections as possible, begin something on each, and hold them until the time is over."""
    held = Held(field)

    async def open_one(listener: Listener) -> None:
        if not field.left:
            return
        field.tried += 1
        try:
            connection = await field.connect(listener, timeout=max(min(field.left, 5), 0.1), **options)
        except wire.FAILURES:
            field.notes["connection refused"] += 1
            await asyncio.sleep(0.05)
            return
        try:
            await begin(connection)
        except wire.FAILURES:
            connection.vanish()
            raise
        held.add(connection)

    wanted = list(itertools.islice(itertools.cycle(listeners), most))
    try:
        await field.each(wanted, open_one, at_once, again=False)
        await field.hold()
    finally:
        held.release()


def many(field: Field, short: int, long: int) -> int:
    return long if field.long else short


@attack("flood of connections", seconds=6)
async def flood_of_connections(field: Field) -> None:
    """Clients that log in, and then idle."""

    async def log_in(connection: wire.Connection) -> None:
        await wire.log_in(connection, packets.V3, packets.connect(packets.V3, keepalive=KEEPALIVE))

    await flood(field, field.target.listeners, many(field, 2000, 12000), log_in)


@attack("flood from one IPv6 network", sources=64, ipv6=True)
async def flood_from_one_ipv6_network(field: Field) -> None:
    """The same from many addresses that one subscriber of a provider can have."""
    await flood_of_connections(field)


@attack("flood of silent connections")
async def flood_of_silent_connections(field: Field) -> None:
    """Connections that send nothing, or only the first bytes of a CONNECT."""

    async def say_little(connection: wire.Connection) -> None:
        if field.random.random() < 0.5:
            await connection.send_raw(packets.connect(packets.V3)[:5])

    plain = [Listener(listener.host, listener.port) for listener in field.target.listeners]
    await flood(field, plain, many(field, 2000, 12000), say_little)


@attack("flood of unfinished upgrades")
async def flood_of_unfinished_upgrades(field: Field) -> None:
    """Requests for a websocket whose headers never end: nothing more is sent, or a line now and then."""
    dripping: set[asyncio.Task[None]] = set()

    async def drip(connection: wire.Connection) -> None:
        with contextlib.suppress(*wire.FAILURES):
            while True:
                await asyncio.sleep(1)
                await connection.send_raw(b"X-More: more\r\n")

    async def begin(connection: wire.Connection) -> None:
        await connection.send_raw(frames.upgrade("firehose")[:-2])
        if field.random.random() < 0.5:
            dripping.add(asyncio.create_task(drip(connection)))

    await flood(field, field.target.of("websockets"), many(field, 2000, 12000), begin, upgraded=False)
    for task in dripping:
        task.cancel()


@attack("flood of upgrades")
async def flood_of_upgrades(field: Field) -> None:
    """Websockets that are closed as soon as they are open, by many clients at once, over and over."""

    async def upgrade(listener: Listener) -> None:
        field.tried += 1
        connection = await field.connect(listener, timeout=5)
        field.through += 1
        connection.vanish()

    await field.each(field.target.of("websockets"), upgrade, at_once=64, again=True)


@attack("flood of wrong passwords")
async def flood_of_wrong_passwords(field: Field) -> None:
    """Each costs the broker a password hash, if the broker checks it. `through` counts answers."""

    async def guess(listener: Listener) -> None:
        name = field.random.choice(field.target.names)
        field.tried += 1
        connection = await field.connect(listener, timeout=5)
        try:
            guessed = field.random.getrandbits(64).to_bytes(8, "big").hex()
            await connection.send(packets.connect(packets.V3, username=name, password=guessed))
            [*_others, answer] = await connection.until(packets.CONNACK)
            field.through += 1
            field.notes[f"CONNACK {answer.body[1]}"] += 1
        finally:
            connection.vanish()

    await field.each(field.target.doors, guess, at_once=64, again=True)


@attack("subscribers that never read", seconds=10)
async def subscribers_that_never_read(field: Field) -> None:
    """They subscribe to everything, and read nothing."""

    async def subscribe(connection: wire.Connection) -> None:
        await wire.log_in(connection, packets.V3, packets.connect(packets.V3, keepalive=KEEPALIVE), ["#"])
        connection.pause()

    await flood(field, field.target.listeners, many(field, 1000, 4000), subscribe, receive_buffer=4096)


@attack("flood of packets")
async def flood_of_packets(field: Field) -> None:
    """Denied messages, repeated subscriptions, and pings, as fast as the broker accepts them. `through` counts kilobytes."""
    version = packets.V3
    batch = b"".join(
        packets.publish(version, "gerrit/hostile", b"hostile flood")
        + packets.subscribe(version, ["hostile/flood"])
        + packets.packet(0xA2, b"\0\1" + packets.string("hostile/flood"))
        + packets.PINGREQ
        for _each in range(20)
    )

    async def pour(listener: Listener) -> None:
        connection = await field.connect(listener)
        reading = asyncio.create_task(connection.drain(field.left))
        try:
            await connection.send(packets.connect(version))
            while field.left:
                field.tried += 80
                await asyncio.wait_for(connection.send(batch), max(field.left, 0.1))
                field.through += len(batch) // 1024
        finally:
            reading.cancel()
            connection.vanish()

    await field.each(field.target.listeners * 16, pour, at_once=32, again=False)
