# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of a PUBLISH packet of MQTT 5: as bytes, and as the JSON that Mosquitto's SQLite plugin stores."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets

from mosquitto_apply.records import Damaged

SUBSCRIPTION_IDENTIFIER = 11
# Properties of a PUBLISH packet, by number
NAMES = {
    1: "payload-format-indicator",
    2: "message-expiry-interval",
    3: "content-type",
    8: "response-topic",
    9: "correlation-data",
    SUBSCRIPTION_IDENTIFIER: "subscription-identifier",
    35: "topic-alias",
    38: "user-property",
}
NUMBERS = {name: number for number, name in NAMES.items()}


@contextlib.contextmanager
def _damage() -> t.Iterator[None]:
    """Raise Damaged for properties that are not valid MQTT."""
    try:
        yield
    except packets.Malformed as exc:
        raise Damaged(f"a property is not as MQTT has it: {exc}") from None


def _read(content: bytes) -> list[packets.Property]:
    with _damage():
        found = [*packets.read_properties(content)]
    for number, _value in found:
        if number not in NAMES:
            raise Damaged(f"a message has property {number}, which none can have")
    return found


def strip(content: bytes) -> bytes:
    """Properties without the length before them. Empty content has no properties."""
    if not content:
        return b""
    with _damage():
        fields = packets.Fields(content)
        length, rest = fields.number(), fields.rest()
    if length != len(rest):
        raise Damaged("properties have another length than the chunk has room for")
    _read(rest)
    return rest


def with_length(content: bytes) -> bytes:
    """Properties with their length before them. No properties are empty content."""
    return packets.number(len(content)) + content if content else b""


def subscription_identifier(content: bytes) -> int:
    """The subscription identifier of a delivery, 0 if there is none."""
    return max((value for number, value in _read(content) if number == SUBSCRIPTION_IDENTIFIER), default=0)


def of_subscription(identifier: int) -> bytes:
    """The properties with a subscription identifier, empty if that is 0."""
    return packets.write_properties([(SUBSCRIPTION_IDENTIFIER, identifier)]) if identifier else b""


def to_json(content: bytes) -> str | None:
    """Properties as the plugin stores them, None if there are none."""
    found = []
    for number, value in _read(content):
        name, kind = NAMES[number], packets.PROPERTIES[number]
        entry = {"identifier": name, "value": value.hex().upper() if kind == "binary" else value}
        if kind == "pair":
            entry.update(zip(("name", "value"), value, strict=True))
        found.append(entry)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) if found else None


def from_json(text: str | None) -> bytes:
    """Properties from the JSON that the plugin stores."""
    found: list[packets.Property] = []
    for entry in json.loads(text) if text else []:
        number = NUMBERS[entry["identifier"]]
        kind = packets.PROPERTIES[number]
        value = entry["value"]
        if kind == "pair":
            value = entry["name"], value
        found.append((number, bytes.fromhex(value) if kind == "binary" else value))
    return packets.write_properties(found)
