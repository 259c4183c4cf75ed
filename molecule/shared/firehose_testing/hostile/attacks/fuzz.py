# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of thousands of packets that no library would send."""

from __future__ import annotations

import itertools

from ..attack import attack
from ..field import Field
from ..grammar import Grammar
from ..target import Listener

MOST = 250_000


@attack("malformed packets", forbidden=True, seconds=6, long_seconds=130, sources=64, least=200_000)
async def malformed_packets(field: Field) -> None:
    """From many addresses, since there may be limits on the rate of connections."""
    grammar = Grammar(field.seed)

    async def send(listener: Listener) -> None:
        if field.tried >= MOST:
            return
        data = grammar.connection()
        connection = await field.connect(listener, timeout=5)
        try:
            framed = listener.transport == "websockets"
            await connection.send_raw(grammar.framed(data) if framed else b"".join(data))
            field.tried += len(data)
            field.notes[listener.transport] += 1
            await connection.read_to_end(1)
        finally:
            connection.vanish()

    await field.each(list(itertools.islice(itertools.cycle(field.target.doors), 64)), send, at_once=64, again=True)
