# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subset of RFC 6455 that carries MQTT, and invalid frames of a hostile client. Pure functions."""

from __future__ import annotations

import base64
import os

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade(host: str, path: str = "/mqtt", subprotocol: str = "mqtt") -> bytes:
    """The request that upgrades HTTP to websockets. An empty subprotocol is left out."""
    wanted = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{wanted}\r\n"
    ).encode()


def frame(
    payload: bytes, opcode: int = BINARY, first: int = 0x80, masked: bool = True, claim: int | None = None
) -> bytes:
    """A frame. Its mask is zero, which changes no byte. It may claim a wrong length."""
    size = len(payload) if claim is None else claim
    flag = 0x80 * masked
    if size < 126:
        head = bytes([first | opcode, flag | size])
    elif size < 0x10000:
        head = bytes([first | opcode, flag | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first | opcode, flag | 127]) + size.to_bytes(8, "big")
    return head + bytes(4 * masked) + payload
