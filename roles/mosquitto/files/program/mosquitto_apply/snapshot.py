# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write mosquitto.db, in the format of C(src/persist.h) of Mosquitto 2.0 and 2.1.

A file is a header and chunks, each with its kind and length. 64-bit numbers are in host byte order, others in network byte
order. The number of chunks is not stored: a file that ends after a whole chunk looks complete.
"""

from __future__ import annotations

import itertools
import os
import struct
import typing as t

from mosquitto_apply import properties
from mosquitto_apply.records import Client, Damaged, Delivery, Message, Record, Retained, Subscription, UnknownVersion

MAGIC = b"\x00\xb5\x00mosquitto db"
VERSION = 6
# Versions of Mosquitto before 2.0, which Mosquitto still reads
OLD_VERSIONS = range(2, 6)
# A checksum that is always 0, and the version
HEADER = struct.Struct("!II")
CHUNK = struct.Struct("!II")
SETTINGS, MESSAGE, DELIVERY, RETAINED, SUBSCRIPTION, CLIENT = range(1, 7)
STORE_ID_SIZE = 8


class _Fields:
    """A chunk's content, read from its start."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Read numbers in a format of the struct module."""
        found = struct.unpack_from(layout, self.content, self.place)
        self.place += struct.calcsize(layout)
        return found

    def take(self, length: int) -> bytes:
        """Read bytes. Raise Damaged if there are fewer."""
        found = self.content[self.place : self.place + length]
        if len(found) != length:
            raise Damaged("a chunk is shorter than what it holds")
        self.place += length
        return found

    def text(self, length: int) -> str:
        """Read a text with this length in bytes."""
        return self.take(length).decode()

    @property
    def rest(self) -> bytes:
        """The remaining bytes."""
        return self.take(len(self.content) - self.place)


def _message(fields: _Fields) -> Message:
    store_id, expiry_time = fields.numbers("=Qq")
    payload_length, mid, id_length, username_length, topic_length, port, qos, retain = fields.numbers("!IHHHHHBB")
    source_id, username, topic = (fields.text(length) for length in (id_length, username_length, topic_length))
    if not topic:
        raise Damaged("a message has no topic")
    payload = fields.take(payload_length)
    found = properties.strip(fields.rest)
    return Message(store_id, expiry_time, topic, payload, source_id, username, mid, port, qos, retain, found)


def _delivery(fields: _Fields) -> Delivery:
    (store_id,) = fields.numbers("=Q")
    mid, id_length, qos, state, retain_dup, direction = fields.numbers("!HHBBBB")
    client_id = fields.text(id_length)
    identifier = properties.subscription_identifier(properties.strip(fields.rest))
    return Delivery(client_id, store_id, mid, qos, state, retain_dup >> 4, retain_dup & 15, direction, identifier)


def _client(fields: _Fields) -> Client:
    (expiry_time,) = fields.numbers("=q")
    interval, last_mid, id_length, port, username_length = fields.numbers("!IHHHH4x")
    client_id, username = (fields.text(length) for length in (id_length, username_length))
    return Client(client_id, username, expiry_time, interval, last_mid, port)


def _subscription(fields: _Fields) -> Subscription:
    identifier, id_length, topic_length, qos, options = fields.numbers("!IHHBB2x")
    client_id, topic = (fields.text(length) for length in (id_length, topic_length))
    return Subscription(client_id, topic, qos | options, identifier)


def _retained(fields: _Fields) -> Retained:
    return Retained(*fields.numbers("=Q"))


READERS: dict[int, t.Callable[[_Fields], Record]] = {
    MESSAGE: _message,
    DELIVERY: _delivery,
    RETAINED: _retained,
    SUBSCRIPTION: _subscription,
    CLIENT: _client,
}


def _size(file: t.BinaryIO) -> int:
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size


def _chunks(file: t.BinaryIO) -> t.Iterator[tuple[int, _Fields]]:
    """Read the chunks after the header."""
    left = _size(file) - file.tell()
    while left:
        head = file.read(CHUNK.size)
        if len(head) != CHUNK.size:
            raise Damaged("it ends within the head of a chunk")
        kind, length = CHUNK.unpack(head)
        left -= CHUNK.size + length
        if left < 0:
            raise Damaged("it ends within a chunk")
        yield kind, _Fields(file.read(length))


def _see_header(file: t.BinaryIO) -> None:
    head = file.read(len(MAGIC) + HEADER.size)
    if not head:
        raise Damaged("it is empty")
    if not head.startswith(MAGIC):
        raise Damaged("it does not start as a mosquitto.db does")
    if len(head) != len(MAGIC) + HEADER.size:
        raise Damaged("it ends within its header")
    _checksum, version = HEADER.unpack(head[len(MAGIC) :])
    if version in OLD_VERSIONS or version > VERSION:
        raise UnknownVersion(f"format version {version}")
    if version != VERSION:
        raise Damaged(f"there is no format version {version}")


def _see_settings(chunk: tuple[int, _Fields] | None) -> None:
    """Check the first chunk, which each file has."""
    if chunk is None or chunk[0] != SETTINGS:
        raise Damaged("its first chunk is not there")
    _last_id, _shutdown, size = chunk[1].numbers("=QBB6x")
    if size != STORE_ID_SIZE:
        raise Damaged(f"ids of messages have {size} bytes")


def read(file: t.BinaryIO) -> t.Iterator[Record]:
    """Read a file to its end. Damage can appear after any number of records."""
    _see_header(file)
    chunks = _chunks(file)
    try:
        _see_settings(next(chunks, None))
        for kind, fields in chunks:
            if kind in READERS:
                yield READERS[kind](fields)
                if fields.rest:
                    raise Damaged("a chunk is longer than what it holds")
    except (struct.error, UnicodeDecodeError) as exc:
        raise Damaged(f"a chunk is not as Mosquitto writes it: {exc}") from None


def _packed(record: Record) -> tuple[int, bytes]:
    """The kind and content of a chunk."""
    if isinstance(record, Message):
        texts = [text.encode() for text in (record.source_id, record.source_username, record.topic)]
        numbers = struct.pack("=Qq", record.store_id, record.expiry_time) + struct.pack(
            "!IHHHHHBB",
            len(record.payload),
            record.source_mid,
            *map(len, texts),
            record.source_port,
            record.qos,
            record.retain,
        )
        return MESSAGE, b"".join([numbers, *texts, record.payload, properties.with_length(record.properties)])
    if isinstance(record, Delivery):
        client_id = record.client_id.encode()
        flags = record.retain << 4 | record.dup
        numbers = struct.pack("=Q", record.store_id) + struct.pack(
            "!HHBBBB", record.mid, len(client_id), record.qos, record.state, flags, record.direction
        )
        identifier = properties.of_subscription(record.subscription_identifier)
        return DELIVERY, numbers + client_id + properties.with_length(identifier)
    if isinstance(record, Client):
        client_id, username = record.client_id.encode(), record.username.encode()
        numbers = struct.pack("=q", record.expiry_time) + struct.pack(
            "!IHHHH4x", record.expiry_interval, record.last_mid, len(client_id), record.port, len(username)
        )
        return CLIENT, numbers + client_id + username
    if isinstance(record, Subscription):
        client_id, topic = record.client_id.encode(), record.topic.encode()
        lengths = len(client_id), len(topic)
        numbers = struct.pack("!IHHBB2x", record.identifier, *lengths, record.options & 3, record.options & ~3)
        return SUBSCRIPTION, numbers + client_id + topic
    return RETAINED, struct.pack("=Q", record.store_id)


def write(file: t.BinaryIO, records: t.Iterable[Record], last_store_id: int) -> None:
    """Write a file whose messages have IDs up to last_store_id."""
    file.write(MAGIC + HEADER.pack(0, VERSION))
    settings = SETTINGS, struct.pack("=QBB6x", last_store_id, 1, STORE_ID_SIZE)
    for kind, content in itertools.chain([settings], map(_packed, records)):
        file.write(CHUNK.pack(kind, len(content)) + content)
