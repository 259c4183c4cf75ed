# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets of MQTT 3.1.1 and 5 as bytes, for clients and for the fake brokers of tests. Pure functions."""

from __future__ import annotations

import struct
import typing as t

(CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP) = range(1, 8)
(SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH) = range(8, 16)
# The kinds whose flags are not 0. Those of PUBLISH depend on the message.
FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
# The protocol level in CONNECT, by the version in options.
LEVELS = {"3.1.1": 4, "5": 5}
V5 = LEVELS["5"]
HAS_USERNAME, HAS_PASSWORD, WILL_RETAIN, HAS_WILL, CLEAN_SESSION = 0x80, 0x40, 0x20, 0x04, 0x02
LONGEST_NUMBER = 4
# The first byte, the length field, and the largest length
LONGEST_PACKET = 1 + LONGEST_NUMBER + 128**LONGEST_NUMBER - 1

# The types of the properties of MQTT 5 by their numbers (section 2.2.2.2)
PROPERTIES = {
    **dict.fromkeys((1, 23, 25, 36, 37, 40, 41, 42), "byte"),
    **dict.fromkeys((19, 33, 34, 35), "int16"),
    **dict.fromkeys((2, 17, 24, 39), "int32"),
    **dict.fromkeys((3, 8, 18, 21, 26, 28, 31), "string"),
    **dict.fromkeys((9, 22), "binary"),
    11: "varint",
    38: "pair",
}
SESSION_EXPIRY_INTERVAL, SERVER_KEEP_ALIVE, RECEIVE_MAXIMUM = 17, 19, 33
MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET_SIZE = 36, 37, 39
SIZES = {"byte": 1, "int16": 2, "int32": 4}

Property = t.Tuple[int, t.Any]  # noqa: UP006 # evaluated at run time, where Python 3.8 needs it


class Malformed(ValueError):
    """Bytes that are not valid MQTT."""


class Packet(t.NamedTuple):
    """A packet without its length."""

    kind: int
    flags: int
    body: bytes


class Message(t.NamedTuple):
    """A published message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


def number(value: int) -> bytes:
    """A variable byte integer: up to 28 bits, seven to a byte."""
    data = bytearray()
    while True:
        value, low = divmod(value, 128)
        data.append(low | (0x80 if value else 0))
        if not value:
            return bytes(data)


def read_number(data: bytes | bytearray, place: int = 0) -> tuple[int, int] | None:
    """A variable byte integer and the index of its end. None if it is not complete yet."""
    value = 0
    for index, byte in enumerate(data[place : place + LONGEST_NUMBER]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    if len(data) >= place + LONGEST_NUMBER:
        raise Malformed(f"a number has more than {LONGEST_NUMBER} bytes")
    return None


def text(value: str | bytes) -> bytes:
    """A string or binary data, with its length before it."""
    encoded = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(encoded)) + encoded


class Fields:
    """Reads the fields of a packet."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken = self._data[self._place : self._place + count]
        if len(taken) < count:
            raise Malformed("a field is cut short")
        self._place += count
        return taken

    def integer(self, size: int = 2) -> int:
        """An integer of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def number(self) -> int:
        """A variable byte integer."""
        found = read_number(self._data, self._place)
        if found is None:
            raise Malformed("a number is cut short")
        value, self._place = found
        return value

    def binary(self) -> bytes:
        """Binary data."""
        return self.take(self.integer())

    def text(self) -> str:
        """A string."""
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None

    def rest(self) -> bytes:
        """All remaining bytes."""
        return self.take(len(self._data) - self._place)

    def properties(self, level: int = V5) -> dict[int, t.Any]:
        """The properties, after their length. Only MQTT 5 has any."""
        return dict(read_properties(self.take(self.number()))) if level == V5 else {}

    def value(self, kind: str) -> t.Any:
        """The value of a property."""
        if kind in SIZES:
            return self.integer(SIZES[kind])
        if kind == "pair":
            return self.text(), self.text()
        return {"varint": self.number, "binary": self.binary, "string": self.text}[kind]()


def read_properties(data: bytes) -> t.Iterator[Property]:
    """Properties without their length: numbers and values."""
    fields = Fields(data)
    while fields:
        name = fields.number()
        if name not in PROPERTIES:
            raise Malformed(f"there is no property {name}")
        yield name, fields.value(PROPERTIES[name])


def write_properties(properties: t.Iterable[Property]) -> bytes:
    """Properties without their length."""
    data = b""
    for name, value in properties:
        kind = PROPERTIES[name]
        if kind in SIZES:
            written = value.to_bytes(SIZES[kind], "big")
        elif kind == "varint":
            written = number(value)
        else:
            written = b"".join(map(text, value if kind == "pair" else [value]))
        data += number(name) + written
    return data


def packet(kind: int, body: bytes = b"", flags: int | None = None) -> bytes:
    """A whole packet."""
    return bytes([kind << 4 | (FLAGS.get(kind, 0) if flags is None else flags)]) + number(len(body)) + body


def split(data: bytearray) -> list[Packet]:
    """Take all complete packets from the start of the received bytes. Malformed bytes after them raise in the next call."""
    found: list[Packet] = []
    start = 0
    while True:
        try:
            length = read_number(data, start + 1)
        except Malformed:
            if not found:
                raise
            length = None
        if length is None or len(data) < sum(length):
            # Only once, since it moves all bytes after it.
            del data[:start]
            return found
        size, place = length
        found.append(Packet(data[start] >> 4, data[start] & 0x0F, bytes(data[place : place + size])))
        start = place + size


def _properties(level: int, properties: t.Iterable[Property] = ()) -> bytes:
    """Properties with their length, which only MQTT 5 has."""
    written = write_properties(properties)
    return number(len(written)) + written if level == V5 else b""


def connect(
    level: int,
    client_id: str = "",
    username: str | None = None,
    password: str | None = None,
    *,
    keepalive: int,
    will: Message | None = None,
    clean: bool = True,
    properties: t.Iterable[Property] = (),
) -> bytes:
    """CONNECT. If it is clean, it ends the client's earlier session. Only MQTT 5 has properties."""
    flags, payload = CLEAN_SESSION if clean else 0, text(client_id)
    if will:
        flags |= HAS_WILL | will.qos << 3 | (WILL_RETAIN if will.retain else 0)
        payload += _properties(level) + text(will.topic) + text(will.payload)
    for flag, value in ((HAS_USERNAME, username), (HAS_PASSWORD, password)):
        if value is not None:
            flags |= flag
            payload += text(value)
    head = text("MQTT") + bytes([level, flags]) + struct.pack("!H", keepalive)
    return packet(CONNECT, head + _properties(level, properties) + payload)


def publish(level: int, message: Message, identifier: int = 0) -> bytes:
    """PUBLISH. With QoS 0 it has no identifier."""
    middle = struct.pack("!H", identifier) if message.qos else b""
    body = text(message.topic) + middle + _properties(level) + message.payload
    return packet(PUBLISH, body, message.qos << 1 | bool(message.retain))


def read_publish(level: int, got: Packet) -> tuple[Message, int]:
    """The message of a PUBLISH, and its identifier."""
    fields, qos = Fields(got.body), got.flags >> 1 & 3
    if qos > 2:
        raise Malformed("there is no QoS 3")
    topic, identifier = fields.text(), fields.integer() if qos else 0
    fields.properties(level)
    return Message(topic, fields.rest(), qos, bool(got.flags & 1)), identifier


def subscribe(level: int, identifier: int, filters: t.Iterable[str], qos: int = 0) -> bytes:
    """SUBSCRIBE."""
    wanted = b"".join(text(one) + bytes([qos]) for one in filters)
    return packet(SUBSCRIBE, struct.pack("!H", identifier) + _properties(level) + wanted)


def unsubscribe(level: int, identifier: int, filters: t.Iterable[str]) -> bytes:
    """UNSUBSCRIBE."""
    return packet(UNSUBSCRIBE, struct.pack("!H", identifier) + _properties(level) + b"".join(map(text, filters)))


def acknowledge(kind: int, identifier: int, code: int = 0) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP. Only MQTT 5 has a code, and 0 is left out."""
    return packet(kind, struct.pack("!H", identifier) + (bytes([code]) if code else b""))


def read_connack(level: int, got: Packet) -> tuple[int, dict[int, t.Any]]:
    """The code of a CONNACK, and its properties. A broker that rejects may know older versions only, which have none."""
    fields = Fields(got.body)
    fields.take(1)
    code = fields.integer(1)
    return code, fields.properties(level) if not code else {}


def read_acknowledgement(level: int, got: Packet) -> tuple[int, bytes]:
    """The identifier of a packet that acknowledges another, and its reason codes.

    SUBACK has one for each topic filter, with MQTT 5 UNSUBACK too; the others have one, which may be left out.
    """
    fields = Fields(got.body)
    identifier = fields.integer()
    if got.kind in (SUBACK, UNSUBACK):
        fields.properties(level)
        return identifier, fields.rest()
    return identifier, fields.take(1) if fields else b"\0"
