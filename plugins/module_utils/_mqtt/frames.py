# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of websockets (RFC 6455) that carries MQTT, as bytes. Pure functions."""

from __future__ import annotations

import base64
import hashlib
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets

CONTINUATION, BINARY, CLOSE, PING, PONG = 0, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Other servers may end their lines in LF alone.
END_OF_HEAD = re.compile(rb"\n\r?\n")


class Frame(t.NamedTuple):
    """A frame without its length."""

    kind: int
    content: bytes


def upgrade(host: str, path: str, key: str) -> bytes:
    """The request to upgrade from HTTP to websockets."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    ).encode()


def accept(key: str) -> str:
    """The answer that a server has to give to a key."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def upgrade_problem(head: bytes, key: str) -> str | None:
    """Say why the head of an answer does not accept the upgrade with this key, or None."""
    status = head.split(b"\r\n", 1)[0][:100].decode("latin-1")
    if " 101 " not in f"{status} ":
        return f"it answered {status!r} to a websocket upgrade"
    return None if accept(key).encode() in head else "it answered a websocket upgrade with another key"


def frame(content: bytes, kind: int = BINARY, *, masked: bool = True, final: bool = True) -> bytes:
    """A frame: of a client, which masks, or of a server. The mask is zero: there is nothing to hide here."""
    length, mask = len(content), MASKED if masked else 0
    if length < 126:
        size = bytes([mask | length])
    elif length < 1 << 16:
        size = bytes([mask | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([mask | 127]) + length.to_bytes(8, "big")
    return bytes([(FINAL if final else 0) | kind]) + size + bytes(4 if masked else 0) + content


def split(data: bytearray) -> list[Frame]:
    """Take all complete frames from the start of the received bytes. Masks are assumed to be zero.

    A frame that is longer than any packet is malformed. After complete frames it raises in the next call.
    """
    found: list[Frame] = []
    start = 0
    while True:
        place = start + 2
        length = data[start + 1] & 0x7F if len(data) >= place else 0
        if length >= 126:
            begin, place = place, place + (2 if length == 126 else 8)
            length = int.from_bytes(data[begin:place], "big")
        if len(data) >= start + 2 and data[start + 1] & MASKED:
            place += 4
        too_long = length > packets.LONGEST_PACKET
        if too_long and not found:
            raise packets.Malformed(f"a frame has more than {packets.LONGEST_PACKET} bytes")
        if too_long or len(data) < place + length:
            # Only once, since it moves all bytes after it.
            del data[:start]
            return found
        found.append(Frame(data[start] & 0x0F, bytes(data[place : place + length])))
        start = place + length
