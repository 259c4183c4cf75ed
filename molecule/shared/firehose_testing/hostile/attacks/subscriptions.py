# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of subscriptions, and subscriptions that multiply the work of the broker."""

from __future__ import annotations

import itertools
import typing as t

from .. import packets, wire
from ..attack import attack
from ..events import TOPIC
from ..field import Field
from .floods import KEEPALIVE


async def subscribe_to(
    field: Field, clients: int, filters: t.Callable[[int], t.Iterable[str]], reads: bool = True
) -> None:
    """Make clients subscribe to all filters; `through` counts the granted ones."""

    async def client(number: int) -> None:
        listener = field.target.listeners[number % len(field.target.listeners)]
        connection = await field.connect(listener)
        try:
            hello = packets.connect(packets.V3, keepalive=KEEPALIVE)
            await wire.log_in(connection, packets.V3, hello)
            wanted = iter(filters(number))
            while field.left and (some := list(itertools.islice(wanted, 50))):
                await connection.send(packets.subscribe(packets.V3, some))
                field.tried += len(some)
                if not reads:
                    field.through += len(some)
                else:
                    [*_others, granted] = await connection.until(packets.SUBACK)
                    field.through += sum(code < 3 for code in granted.body[2:])
            if reads:
                await connection.drain(field.left)
            else:
                connection.pause()
                await field.hold()
        finally:
            connection.vanish()

    await field.each(list(range(clients)), client, at_once=clients, again=False)


@attack("thousands of subscriptions", seconds=6)
async def thousands_of_subscriptions(field: Field) -> None:
    """Filters that match nothing, of one level or of many."""
    count = 20000 if field.long else 2000

    def filters(number: int) -> t.Iterator[str]:
        for place in range(count):
            yield f"hostile/{number}/{place}" if place % 20 else f"hostile/{number}/{place}" + "/x" * 150

    await subscribe_to(field, 16, filters)


def matching() -> list[str]:
    """All filters that match the honest events."""
    levels = TOPIC.split("/")
    choices = list(itertools.product(*((level, "+") for level in levels)))
    whole = ["/".join(choice) for choice in choices]
    parts = ["/".join((*choice[:size], "#")) for size in range(len(levels) + 1) for choice in choices]
    return sorted({*whole, *parts})


@attack("filters that all match", seconds=6)
async def filters_that_all_match(field: Field) -> None:
    """A client gets each event as often as it has matching filters."""
    await subscribe_to(field, 40, lambda _number: matching())


@attack("shared subscriptions that all match", seconds=6)
async def shared_subscriptions_that_all_match(field: Field) -> None:
    """Each group of a shared subscription gets every event, and any client can have as many groups as there are names."""
    count = 5000 if field.long else 1000
    await subscribe_to(field, 8, lambda number: (f"$share/{number}-{place}/#" for place in range(count)), reads=False)


@attack("long client ids and filters with a space", seconds=6)
async def subscriptions_that_cannot_be(field: Field) -> None:
    """Each invalid subscription could cause a log line with its name, and each session with such a name a record."""

    async def client(number: int) -> None:
        connection = await field.connect(field.target.listeners[number % len(field.target.listeners)])
        try:
            field.tried += 1
            await connection.send(packets.connect(packets.V3, f"{number}-{field.tried}{'<' * 60000}", clean=False))
            await connection.until(packets.CONNACK)
            await connection.send(packets.subscribe(packets.V3, ["a b"] * 10000))
            await connection.until(packets.SUBACK)
            field.through += 1
        finally:
            connection.vanish()

    await field.each(list(range(16)), client, again=True)
