# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets and frames that are too long, or claim to be."""

from __future__ import annotations

import asyncio
import itertools

from .. import frames, packets
from ..attack import attack
from ..field import Field
from ..packets import V3, V5
from ..target import Listener

LARGEST = 268_435_455
CHUNK = bytes(65536)


def beginnings() -> list[bytes]:
    """Packets that claim the largest possible size, before and after a CONNECT."""
    claim = packets.length(LARGEST)
    return [
        bytes([0x10]) + claim + packets.string("MQTT"),
        bytes([0x30]) + claim,
        packets.connect(V3) + bytes([0x32]) + claim + packets.string("gerrit/hostile"),
        packets.connect(V3) + bytes([0x82]) + claim,
        packets.connect(V5) + bytes([0x30]) + claim + packets.string("gerrit/hostile") + b"\0",
        packets.connect(V5) + bytes([0xF0]) + claim,
        packets.connect(V3, will=packets.Will("gerrit/hostile", bytes(65535))),
    ]


@attack("oversized packets", seconds=6)
async def oversized_packets(field: Field) -> None:
    """Some megabytes of each, and then nothing more. `through` counts accepted megabytes."""
    most = 64 if field.long else 8

    async def send(listener: Listener, beginning: bytes) -> None:
        connection = await field.connect(listener)
        field.tried += 1
        taken = 0
        try:
            await connection.send(beginning)
            while field.left and taken < most * 1024 * 1024:
                await asyncio.wait_for(connection.send(CHUNK), max(field.left, 0.1))
                taken += len(CHUNK)
            await field.hold()
        finally:
            field.through += taken // 1024 // 1024
            connection.vanish()

    attempts = list(itertools.product(field.target.doors, beginnings())) * 4
    await field.each(attempts, lambda one: send(*one), at_once=len(attempts), again=False)
    await field.hold()


@attack("oversized frames", seconds=6)
async def oversized_frames(field: Field) -> None:
    """Websocket frames that claim up to 2^63 bytes, and fragmented messages that never end."""
    claims = (70000, 2**31, 2**32 + 5, 2**63 - 1, 2**64 - 1)

    async def send(listener: Listener, claim: int | None) -> None:
        connection = await field.connect(listener)
        field.tried += 1
        try:
            if claim is not None:
                await connection.send_raw(frames.frame(packets.connect(V3), claim=claim))
            first = 0
            for _chunk in range(256):
                piece = CHUNK if claim is not None else frames.frame(CHUNK, opcode=0 if first else 2, first=0)
                first = 1
                await asyncio.wait_for(connection.send_raw(piece), max(field.left, 0.1))
            await field.hold()
            field.through += 1
        finally:
            connection.vanish()

    attempts = list(itertools.product(field.target.of("websockets"), (*claims, None))) * 4
    await field.each(attempts, lambda one: send(*one), at_once=len(attempts), again=False)
    await field.hold()
