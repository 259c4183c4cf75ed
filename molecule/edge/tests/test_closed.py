# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server has for itself below $ is closed, however somebody asks for it. NATS would show it to anybody who subscribes to it."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
from firehose_testing.edges import Edge, Edges
from firehose_testing.hostile import frames, packets, wire
from firehose_testing.hostile.packets import V3
from firehose_testing.hostile.target import Listener

SECONDS = 1
CLOSED = ("$MQTT/#", "$JS/#", "$SYS/#")
MASK = bytes([0x24, 0x25, 0xFF, 0x01])
PLAIN = packets.subscribe(V3, ["ci/#", *CLOSED])
FILTERS = packets.string(CLOSED[0]) + b"\0"
# Ways to hide a subscription from whoever believes what a packet says of its length. NATS does not.
HIDDEN = {
    "in a PINGREQ": packets.packet(0xC0, PLAIN),
    "in a PUBACK": packets.packet(0x40, b"\0\1" + PLAIN),
    "behind the end of a SUBSCRIBE": packets.packet(0x82, b"\0\1" + packets.string(CLOSED[0])[:2]) + FILTERS[2:],
    "behind the end of an UNSUBSCRIBE": packets.packet(0xA2, b"\0\1\0\1") + b"A" + PLAIN,
    "behind a topic that is longer than its PUBLISH": packets.packet(0x30, b"\0\1") + b"A" + PLAIN,
}
Shape = t.Callable[[bytes], list[bytes]]
SHAPES: dict[str, tuple[Listener, Shape]] = {
    "tcp": (Listener("", 1883), lambda data: [data]),
    "tcp, byte after byte": (Listener("", 1883), lambda data: [bytes([byte]) for byte in data]),
    "a frame": (Listener("", 80, "websockets"), lambda data: [frames.frame(data, mask=MASK)]),
    "a frame for each byte": (
        Listener("", 80, "websockets"),
        lambda data: [frames.frame(bytes([byte]), mask=MASK) for byte in data],
    ),
    "a frame, byte after byte": (
        Listener("", 80, "websockets"),
        lambda data: [bytes([byte]) for byte in frames.frame(data, mask=MASK)],
    ),
}


async def read(host: str, shape: str, hello: bytes, what: bytes) -> list[packets.Packet]:
    """What somebody gets who sends this behind a CONNECT, while others come and go."""
    listener, cut = SHAPES[shape]
    connection = await wire.connect(Listener(host, listener.port, listener.transport))
    try:
        for piece in cut(hello + what):
            await connection.send_raw(piece)
            await asyncio.sleep(0)
        reading = asyncio.create_task(connection.drain(SECONDS))
        for _newcomer in range(3):
            other = await wire.connect(Listener(host, 1883))
            await wire.log_in(other, V3, packets.connect(V3), ["#"])
            await other.until(packets.SUBACK)
            other.vanish()
        return await reading
    finally:
        connection.vanish()


def topics(got: list[packets.Packet]) -> set[str]:
    return {packets.parse_publish(V3, one)[0] for one in got if one.kind == packets.PUBLISH}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_granted_and_nothing_comes(edges: Edges, shape: str) -> None:
    def closed(edge: Edge) -> tuple[bytes, set[str]]:
        got = asyncio.run(read(edge.address, shape, packets.connect(V3), PLAIN))
        [granted] = [one.body[2:] for one in got if one.kind == packets.SUBACK]
        return granted, {topic for topic in topics(got) if topic.startswith("$")}

    assert edges.each(closed) == dict.fromkeys(edges, (bytes(4), set()))


@pytest.mark.parametrize("shape", ["tcp", "a frame"])
@pytest.mark.parametrize("trick", HIDDEN)
def test_no_packet_hides_another(edges: Edges, shape: str, trick: str) -> None:
    def kinds(edge: Edge) -> tuple[int, ...]:
        return tuple(one.kind for one in asyncio.run(read(edge.address, shape, packets.connect(V3), HIDDEN[trick])))

    assert edges.of("nats").each(kinds) == dict.fromkeys(edges.of("nats"), (packets.CONNACK,))


@pytest.mark.parametrize("shape", ["tcp", "a frame"])
def test_no_connect_hides_another_packet(edges: Edges, shape: str) -> None:
    hello = packets.connect(V3)
    # As long as both
    longer = packets.packet(0x10, hello[2:] + PLAIN)

    def got(edge: Edge) -> int:
        return len(asyncio.run(read(edge.address, shape, longer, b"")))

    assert edges.of("nats").each(got) == dict.fromkeys(edges.of("nats"), 0)
