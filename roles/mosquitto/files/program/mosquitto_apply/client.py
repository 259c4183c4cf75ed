# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of an MQTT 3.1.1 client as a trespasser needs: log in, subscribe, publish, and see what comes back."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, PINGREQ, PINGRESP = 1, 2, 3, 8, 12, 13
CLEAN_SESSION, HAS_PASSWORD, HAS_NAME = 0x02, 0x40, 0x80
BINARY_FRAME, CLOSING_FRAME = 2, 8


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded


class Client:
    """A connection to a listener. What goes wrong with it is _handshake.NoAnswer."""

    def __init__(self, connection: socket.socket, *, websockets: bool, deadline: float) -> None:
        self._socket = connection
        self._websockets = websockets
        self._deadline = deadline
        self._received = b""

    def log_in(self, name: str | None = None, password: str | None = None) -> bool:
        """Say who this is; return whether the broker lets it in."""
        flags = CLEAN_SESSION | (HAS_NAME if name is not None else 0) | (HAS_PASSWORD if password is not None else 0)
        payload = _text("") + b"".join(_text(item) for item in (name, password) if item is not None)
        self._send(CONNECT, _text("MQTT") + bytes([4, flags]) + struct.pack("!H", 10) + payload)
        kind, body = self._packet()
        return kind == CONNACK and body[1] == 0

    def passes_on(self, topic: str) -> bool:
        """Whether what is published comes back. A broker answers in order, so that there is no need to wait for it."""
        self._send(SUBSCRIBE, struct.pack("!H", 1) + _text(topic) + bytes([0]), flags=2)
        self._send(PUBLISH, _text(topic) + b"nobody should get this")
        self._send(PINGREQ, b"")
        while True:
            kind, _body = self._packet()
            if kind in (PUBLISH, PINGRESP):
                return kind == PUBLISH

    def _send(self, kind: int, body: bytes, flags: int = 0) -> None:
        packet = bytes([kind << 4 | flags, len(body)]) + body
        _handshake.say(self._socket, _handshake.frame(packet) if self._websockets else packet)

    def _packet(self) -> tuple[int, bytes]:
        head, length = self._take(2)
        return head >> 4, self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            if not self._websockets:
                self._received += _handshake.receive(self._socket, count - len(self._received), self._deadline)
                continue
            head, length = _handshake.receive(self._socket, 2, self._deadline)
            payload = _handshake.receive(self._socket, length, self._deadline)
            if head & 0x0F == CLOSING_FRAME:
                raise _handshake.NoAnswer("it closed the connection")
            if head & 0x0F == BINARY_FRAME:
                self._received += payload
        taken, self._received = self._received[:count], self._received[count:]
        return taken


@contextlib.contextmanager
def connected(listener: dict[str, t.Any], timeout: float) -> t.Iterator[Client]:
    """A connection to a listener, for so many seconds at most."""
    deadline = time.monotonic() + timeout
    with _handshake.opened(listener, deadline) as connection:
        yield Client(connection, websockets=listener["protocol"] == "websockets", deadline=deadline)
