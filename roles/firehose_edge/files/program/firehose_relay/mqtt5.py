# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packets that the relay and the core exchange where MQTT 5 is not MQTT 3.1.1: only with 5 are retained events told from others."""

from __future__ import annotations

import struct

from ansible_collections.opendev.firehose.plugins.module_utils._raw_client import (
    CONNECT,
    HAS_NAME,
    HAS_PASSWORD,
    PUBACK,
    SUBSCRIBE,
    Packet,
    number_at,
    packet,
    text,
)

from .events import Event

VERSION = 5
SESSION_EXPIRY, RECEIVE_MAXIMUM = 0x11, 0x21
FOR_EVER = 0xFFFFFFFF
# What is retained comes with its flag; and only with a session that is new.
RETAIN_AS_PUBLISHED, RETAIN_IF_NEW = 0x08, 0x10


def connect(client_id: str, username: str, password: str, keepalive: int, window: int) -> bytes:
    """Ask for the session of that client, which the broker is to keep, and which begins only once."""
    properties = struct.pack("!BIBH", SESSION_EXPIRY, FOR_EVER, RECEIVE_MAXIMUM, window)
    head = text("MQTT") + struct.pack("!BBHB", VERSION, HAS_NAME | HAS_PASSWORD, keepalive, len(properties))
    return packet(CONNECT, head + properties + text(client_id) + text(username) + text(password))


def subscribe(topic_filter: str, qos: int, *, all_retained: bool) -> bytes:
    """Ask for events, as the first subscription of a connection, and for all that is retained, or for that with a new session alone."""
    options = qos | RETAIN_AS_PUBLISHED | (0 if all_retained else RETAIN_IF_NEW)
    return packet(SUBSCRIBE, struct.pack("!HB", 1, 0) + text(topic_filter) + bytes([options]), flags=2)


def acknowledge(number: int) -> bytes:
    """Say that an event has come."""
    return packet(PUBACK, struct.pack("!H", number))


def event(found: Packet) -> Event:
    """What a PUBLISH says, without its properties."""
    body = found.body
    end = 2 + (body[0] << 8 | body[1])
    topic, number = body[2:end].decode(), 0
    if found.flags & 0x06:
        number = body[end] << 8 | body[end + 1]
        end += 2
    # The properties' length, and where they begin
    return Event(number, topic, body[sum(number_at(body, end) or ()) :], bool(found.flags & 0x01))
