# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server has for itself below $ is closed, however somebody asks for it. NATS would show it to anybody who subscribes to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import typing as t

import pytest
from firehose_testing.edges import Edge, Edges
from firehose_testing.hostile import frames, packets, wire
from firehose_testing.hostile.packets import V3
from firehose_testing.hostile.target import Listener
from firehose_testing.nats import asked
from firehose_testing.waiting import wait_until

SECONDS = 1
CLOSED = ("$MQTT/#", "$JS/#", "$SYS/#")
MASK = bytes([0x24, 0x25, 0xFF, 0x01])
PLAIN = packets.subscribe(V3, ["ci/#", *CLOSED])
FILTER = packets.string(CLOSED[0]) + b"\0"
# Ways to hide a subscription from whoever believes what a packet says of its length. NATS does not.
HIDDEN = {
    "in a PINGREQ": packets.packet(0xC0, PLAIN),
    "in a PUBACK": packets.packet(0x40, b"\0\1" + PLAIN),
    "behind the end of a SUBSCRIBE": packets.packet(0x82, b"\0\1" + FILTER[:2]) + FILTER[2:],
    "behind the end of an UNSUBSCRIBE": packets.packet(0xA2, b"\0\1\0\1") + b"A" + PLAIN,
    "behind a topic that is longer than its PUBLISH": packets.packet(0x30, b"\0\1") + b"A" + PLAIN,
}
# More than NATS is to have, with what comes before it
EXCESSIVE = {
    "a client id": [packets.connect(V3, "x" * 257)],
    "topic filters": [packets.connect(V3), packets.subscribe(V3, ["ci/x"] * 257)],
    "topic filters that go": [packets.connect(V3), packets.packet(0xA2, b"\0\1" + packets.string("ci/x") * 257)],
}
# With this header NATS takes no mask off a frame, and reads others than whoever does.
UNMASKED = (
    bytes.fromhex("8980 8900897d 8ffeffff00000000")
    + bytes(117)
    + b"".join(frames.frame(data, masked=False) for data in (packets.connect(V3), packets.subscribe(V3, CLOSED[:1])))
)
PINGS = """
import socket
connection = socket.create_connection(("127.0.0.1", 1883), 10)
connection.sendall(bytes.fromhex("100c00044d5154540402000a0000"))
connection.recv(4)
for number in range(100):
    connection.sendall(bytes.fromhex("c000") * 10000)
    got = 0
    while got < 20000:
        got += len(connection.recv(65536)) or exit(f"hung up in lot {number}")
"""
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


async def read(host: str, shape: str, *what: bytes) -> list[packets.Packet]:
    """What somebody gets who sends this, each when the one before is answered, while others come and go."""
    listener, cut = SHAPES[shape]
    connection = await wire.connect(Listener(host, listener.port, listener.transport))
    try:
        for place, data in enumerate(what):
            if place:
                await connection.packet()
            for piece in cut(data):
                await connection.send_raw(piece)
                await asyncio.sleep(0)
        for _newcomer in range(3):
            other = await wire.connect(Listener(host, 1883))
            await wire.log_in(other, V3, packets.connect(V3), ["#"])
            await other.until(packets.SUBACK)
            other.vanish()
        return await connection.drain(SECONDS)
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

    # Mosquitto 2.1 does not bear a frame that comes byte after byte.
    assert edges.of("nats").each(closed) == dict.fromkeys(edges.of("nats"), (bytes(4), set()))


@pytest.mark.parametrize("shape", ["tcp", "a frame"])
@pytest.mark.parametrize("trick", HIDDEN)
def test_no_packet_hides_another(edges: Edges, shape: str, trick: str) -> None:
    def kinds(edge: Edge) -> tuple[int, ...]:
        return tuple(one.kind for one in asyncio.run(read(edge.address, shape, packets.connect(V3), HIDDEN[trick])))

    assert edges.of("nats").each(kinds) == dict.fromkeys(edges.of("nats"), ())


@pytest.mark.parametrize("shape", ["tcp", "a frame"])
@pytest.mark.parametrize("what", EXCESSIVE)
def test_what_is_too_much_ends_a_connection(edges: Edges, shape: str, what: str) -> None:
    def got(edge: Edge) -> int:
        return len(asyncio.run(read(edge.address, shape, *EXCESSIVE[what])))

    assert edges.of("nats").each(got) == dict.fromkeys(edges.of("nats"), 0)


@pytest.mark.parametrize("shape", ["tcp", "a frame", "a frame for each byte"])
def test_nats_keeps_nothing_of_clients(edges: Edges, shape: str) -> None:
    """However long they want to be remembered, and whatever QoS they ask for."""

    def kept(edge: Edge) -> tuple[int, int]:
        """Sessions, and consumers of all streams."""
        [account] = asked(edge, "jsz?streams=1&consumers=1", 22999)["account_details"]
        [sessions] = [one["state"]["messages"] for one in account["stream_detail"] if one["name"] == "$MQTT_sess"]
        return sessions, sum(one["state"]["consumer_count"] for one in account["stream_detail"])

    async def come_and_go(host: str, number: int) -> bytes:
        listener, cut = SHAPES[shape]
        connection = await wire.connect(Listener(host, listener.port, listener.transport))
        for data in (
            packets.connect(V3, f"lasting-{number}", clean=False),
            packets.subscribe(V3, ["ci/#", "gerrit/#"], qos=1 + number % 2),
        ):
            for piece in cut(data):
                await connection.send_raw(piece)
        [granted] = [one.body[2:] for one in await connection.drain(SECONDS) if one.kind == packets.SUBACK]
        connection.vanish()
        return granted

    async def many(host: str) -> list[bytes]:
        return await asyncio.gather(*(come_and_go(host, number) for number in range(20)))

    def are_forgotten(edge: Edge) -> None:
        before = kept(edge)
        assert asyncio.run(many(edge.address)) == [b"\0\0"] * 20
        wait_until(lambda: kept(edge) <= before, "they are forgotten", explain=lambda: f"{kept(edge)} after {before}")

    edges.of("nats").each(are_forgotten)


@pytest.mark.parametrize("shape", ["tcp", "a frame"])
def test_no_connect_hides_another_packet(edges: Edges, shape: str) -> None:
    hello = packets.connect(V3)
    # As long as both
    longer = packets.packet(0x10, hello[2:] + PLAIN)

    def got(edge: Edge) -> int:
        return len(asyncio.run(read(edge.address, shape, longer)))

    assert edges.of("nats").each(got) == dict.fromkeys(edges.of("nats"), 0)


def test_no_header_hides_frames(edges: Edges) -> None:
    async def said(host: str) -> bytes:
        connection = await wire.connect(Listener(host, 80, "websockets"), upgraded=False)
        try:
            hello = frames.upgrade(host).removesuffix(b"\r\n")
            await connection.send_raw(hello + b"Nats-No-Masking: true\r\n\r\n")
            answer = await connection.read_raw(5)
            await connection.send_raw(UNMASKED)
            with contextlib.suppress(TimeoutError):
                while more := await connection.read_raw(SECONDS):
                    answer += more
            return answer
        finally:
            connection.vanish()

    for name, answer in edges.of("nats").each(lambda edge: asyncio.run(said(edge.address))).items():
        assert answer.startswith(b"HTTP/1.1 101 "), name
        assert b"\x20\x02" not in answer, name


def test_a_connection_is_one_client(edges: Edges) -> None:
    """HTTP/2 would carry a hundred."""

    def spoken(edge: Edge) -> str | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection((edge.address, 443), 10) as plain, context.wrap_socket(plain) as connection:
            return connection.selected_alpn_protocol()

    assert edges.each(spoken) == dict.fromkeys(edges, "http/1.1")


def test_who_says_much_is_served_for_long(edges: Edges) -> None:
    """What looks at packets has no clock that ends."""
    edges.of("nats").each(lambda edge: edge.host.check_output("python3 -c %s", PINGS))
