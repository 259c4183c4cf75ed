# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unauthorized reading."""

from __future__ import annotations

import itertools

from .. import packets
from ..attack import attack
from ..field import Field
from ..target import Listener
from .publishing import ways

CLOSED = (
    "$SYS/#",
    "$SYS/broker/clients/+",
    "$SYS/broker/log/#",
    "$CONTROL/#",
    "$CONTROL/dynamic-security/v1/response",
    "$hostile/#",
    "$share/hostile/$SYS/#",
    "$share/hostile/$CONTROL/#",
    "+/broker/version",
    "$+/#",
    "/$SYS/#",
)


@attack("read what is closed", forbidden=True, seconds=5)
async def read_what_is_closed(field: Field) -> None:
    """Longer than the $SYS interval of the broker here. Each filter has its own subscription: a rejected one may end the connection."""

    async def read(listener: Listener, version: int, topic: str) -> None:
        connection = await field.insist(listener)
        try:
            await connection.send(packets.connect(version) + packets.subscribe(version, [topic]))
            field.tried += 1
            for got in await connection.drain(field.left):
                if got.kind == packets.PUBLISH:
                    field.through += 1
                    field.notes[packets.parse_publish(version, got)[0]] += 1
        finally:
            connection.vanish()

    attempts = [(*way, topic) for way, topic in itertools.product(ways(field), CLOSED)]
    await field.each(attempts, lambda one: read(*one), at_once=len(attempts), again=False)
