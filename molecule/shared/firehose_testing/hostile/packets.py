# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MQTT packets as bytes, including packets that no library would send. Pure functions."""

from __future__ import annotations

import dataclasses
import typing as t

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 5, 6, 8, 9
# MQTT 3.1, in addition to the versions that most tests use
OLDEST, V3, V5 = 3, 4, 5
VERSIONS = (V3, V5)

PINGREQ, DISCONNECT = bytes([0xC0, 0]), bytes([0xE0, 0])
# It makes the broker publish the will, as after a lost connection.
DISCONNECT_WITH_WILL = bytes([0xE0, 1, 4])

SESSION_EXPIRY, TOPIC_ALIAS, WILL_DELAY = 0x11, 0x23, 0x18

Text = t.Union[str, bytes]


@dataclasses.dataclass(frozen=True)
class Packet:
    """A received packet: the first byte, and all data after the length."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.first >> 4


@dataclasses.dataclass(frozen=True)
class Will:
    """The message that a broker publishes when its client vanishes."""

    topic: Text
    payload: bytes
    qos: int = 0
    retain: bool = False
    delay: int = 0


def raw(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def string(text: Text) -> bytes:
    data = raw(text)
    return len(data).to_bytes(2, "big") + data


def length(number: int) -> bytes:
    """A number of up to 28 bits, seven to a byte."""
    data = bytearray()
    while True:
        number, low = divmod(number, 128)
        data.append(low | (128 if number else 0))
        if not number:
            return bytes(data)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + length(len(body)) + body


def properties(version: int, data: bytes = b"") -> bytes:
    """Nearly every packet of MQTT 5 has properties. Packets of 3.1.1 have none."""
    return length(len(data)) + data if version == V5 else b""


def number_property(name: int, number: int) -> bytes:
    """A property whose value has two or four bytes."""
    return bytes([name]) + number.to_bytes(2 if name == TOPIC_ALIAS else 4, "big")


def connect(
    version: int,
    client_id: Text = "",
    *,
    username: Text | None = None,
    password: Text | None = None,
    keepalive: int = 60,
    clean: bool = True,
    will: Will | None = None,
    expiry: int = 0,
) -> bytes:
    flags = 2 * clean + 0x80 * (username is not None) + 0x40 * (password is not None)
    rest = string(client_id)
    if will:
        flags |= 0x04 | will.qos << 3 | 0x20 * will.retain
        delay = number_property(WILL_DELAY, will.delay) if will.delay else b""
        rest += properties(version, delay) + string(will.topic) + string(will.payload)
    rest += b"".join(string(text) for text in (username, password) if text is not None)
    kept = number_property(SESSION_EXPIRY, expiry) if expiry else b""
    name = string("MQIsdp" if version == OLDEST else "MQTT")
    head = name + bytes([version, flags]) + keepalive.to_bytes(2, "big")
    return packet(CONNECT << 4, head + properties(version, kept) + rest)


def publish(
    version: int,
    topic: Text,
    payload: bytes,
    qos: int = 0,
    retain: bool = False,
    number: int = 1,
    properties_: bytes = b"",
) -> bytes:
    middle = number.to_bytes(2, "big") if qos else b""
    body = string(topic) + middle + properties(version, properties_) + payload
    return packet(PUBLISH << 4 | qos << 1 | retain, body)


def subscribe(version: int, filters: t.Iterable[Text], qos: int = 0, number: int = 1) -> bytes:
    wanted = b"".join(string(topic) + bytes([qos]) for topic in filters)
    return packet(SUBSCRIBE << 4 | 2, number.to_bytes(2, "big") + properties(version) + wanted)


def acknowledge(kind: int, number: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return packet(kind << 4 | 2 * (kind == PUBREL), number.to_bytes(2, "big"))


def read_length(data: bytes, start: int) -> tuple[int, int]:
    """A length, and the position after it."""
    value = shift = 0
    while True:
        value |= (data[start] & 127) << shift
        start, shift = start + 1, shift + 7
        if data[start - 1] < 128:
            return value, start


def parse_publish(version: int, got: Packet) -> tuple[str, bytes]:
    """The topic and the payload of a message."""
    end = 2 + int.from_bytes(got.body[:2], "big")
    start = end + 2 * bool(got.first & 6)
    if version == V5:
        size, start = read_length(got.body, start)
        start += size
    return got.body[2:end].decode(errors="replace"), got.body[start:]
