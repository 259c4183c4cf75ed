# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of a PUBLISH packet of MQTT 5: as bytes, and as the JSON that Mosquitto's SQLite plugin stores."""

from __future__ import annotations

import json
import struct
import typing as t

from mosquitto_apply.records import Damaged

SUBSCRIPTION_IDENTIFIER = 11
# By number: the name and type of what a PUBLISH packet can have.
KINDS = {
    1: ("payload-format-indicator", "byte"),
    2: ("message-expiry-interval", "int32"),
    3: ("content-type", "string"),
    8: ("response-topic", "string"),
    9: ("correlation-data", "binary"),
    SUBSCRIPTION_IDENTIFIER: ("subscription-identifier", "varint"),
    35: ("topic-alias", "int16"),
    38: ("user-property", "pair"),
}
NUMBERS = {name: (number, kind) for number, (name, kind) in KINDS.items()}
FIXED = {"byte": struct.Struct("!B"), "int16": struct.Struct("!H"), "int32": struct.Struct("!I")}
LENGTH = FIXED["int16"]
LONGEST_VARINT = 4

Property = tuple[int, t.Any]


def _varint(value: int) -> bytes:
    found = bytearray()
    while True:
        value, low = divmod(value, 128)
        found.append(low | (128 if value else 0))
        if not value:
            return bytes(found)


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index in range(LONGEST_VARINT):
        byte = content[place + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, place + index + 1
    raise Damaged("a number has more than four bytes")


def _read_binary(content: bytes, place: int) -> tuple[bytes, int]:
    (length,) = LENGTH.unpack_from(content, place)
    end = place + LENGTH.size + length
    if end > len(content):
        raise Damaged("a property is longer than what holds it")
    return content[place + LENGTH.size : end], end


def _read_value(kind: str, content: bytes, place: int) -> tuple[t.Any, int]:
    if kind in FIXED:
        return FIXED[kind].unpack_from(content, place)[0], place + FIXED[kind].size
    if kind == "varint":
        return _read_varint(content, place)
    value, place = _read_binary(content, place)
    if kind == "binary":
        return value, place
    if kind == "string":
        return value.decode(), place
    other, place = _read_binary(content, place)
    return (value.decode(), other.decode()), place


def _read(content: bytes) -> t.Iterator[Property]:
    place = 0
    try:
        while place < len(content):
            number, place = _read_varint(content, place)
            if number not in KINDS:
                raise Damaged(f"a message has property {number}, which none can have")
            value, place = _read_value(KINDS[number][1], content, place)
            yield number, value
    except (IndexError, struct.error, UnicodeDecodeError):
        raise Damaged("a property is not as MQTT has it") from None


def _written(kind: str, value: t.Any) -> bytes:
    if kind in FIXED:
        return FIXED[kind].pack(value)
    if kind == "varint":
        return _varint(value)
    parts = value if kind == "pair" else [value]
    texts = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"".join(LENGTH.pack(len(text)) + text for text in texts)


def _write(properties: t.Iterable[Property]) -> bytes:
    return b"".join(_varint(number) + _written(KINDS[number][1], value) for number, value in properties)


def strip(content: bytes) -> bytes:
    """Properties without the length before them. Nothing at all is none."""
    if not content:
        return b""
    try:
        length, place = _read_varint(content, 0)
    except IndexError:
        raise Damaged("the length of properties is cut short") from None
    if place + length != len(content):
        raise Damaged("properties have another length than the chunk has room for")
    for _property in _read(content[place:]):
        pass
    return content[place:]


def with_length(content: bytes) -> bytes:
    """Properties with their length before them. None is nothing at all."""
    return _varint(len(content)) + content if content else b""


def subscription_identifier(content: bytes) -> int:
    """The one that a message is delivered with, 0 if there is none."""
    return max((value for number, value in _read(content) if number == SUBSCRIPTION_IDENTIFIER), default=0)


def of_subscription(identifier: int) -> bytes:
    """The same as properties."""
    return _write([(SUBSCRIPTION_IDENTIFIER, identifier)]) if identifier else b""


def to_json(content: bytes) -> str | None:
    """Properties as the plugin stores them, None if there are none."""
    found = []
    for number, value in _read(content):
        name, kind = KINDS[number]
        entry = {"identifier": name, "value": value.hex().upper() if kind == "binary" else value}
        if kind == "pair":
            entry.update(zip(("name", "value"), value, strict=True))
        found.append(entry)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) if found else None


def from_json(text: str | None) -> bytes:
    """What was stored as JSON."""
    found: list[Property] = []
    for entry in json.loads(text) if text else []:
        number, kind = NUMBERS[entry["identifier"]]
        value = entry["value"]
        if kind == "pair":
            value = entry["name"], value
        found.append((number, bytes.fromhex(value) if kind == "binary" else value))
    return _write(found)
