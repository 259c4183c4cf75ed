# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""An MQTT 3.1.1 client for where there is no library: log in, subscribe, publish, and take what comes. No threads.

What goes wrong with a connection is _handshake.NoAnswer, as everywhere behind _handshake.opened.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import struct
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
CLEAN_SESSION, HAS_PASSWORD, HAS_NAME = 0x02, 0x40, 0x80
# Mosquitto may refuse clients that want more than its max_keepalive, and that is at least 10.
KEEPALIVE = 10
CONTINUED, CLOSE, PING, PONG = 0, 8, 9, 10
CHUNK = 65536


class Packet(t.NamedTuple):
    """A packet of MQTT."""

    kind: int
    flags: int
    body: bytes


class Message(t.NamedTuple):
    """What was published."""

    topic: str
    payload: bytes


def text(value: str) -> bytes:
    """A string of MQTT."""
    encoded = value.encode()
    return struct.pack("!H", len(encoded)) + encoded


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """A whole packet."""
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind << 4 | flags]) + length + body


def number_at(data: bytes | bytearray, place: int) -> tuple[int, int] | None:
    """A variable byte integer of MQTT, and where it ends, if it is whole."""
    value = 0
    for count, digit in enumerate(data[place : place + 4]):
        value |= (digit & 0x7F) << 7 * count
        if digit < 0x80:
            return value, place + count + 1
    if len(data) >= place + 4:
        raise _handshake.NoAnswer("it does not speak MQTT")
    return None


# The shortest body that a broker sends of each kind.
LEAST = {CONNACK: 2, PUBLISH: 2, PUBACK: 2, SUBACK: 3}


def split(data: bytearray) -> list[Packet]:
    """Take all whole packets from the start of what was received."""
    found: list[Packet] = []
    start = 0
    while True:
        length = number_at(data, start + 1)
        if length is None or len(data) < sum(length):
            # Once, for all that is behind it moves.
            del data[:start]
            return found
        size, place = length
        if size < LEAST.get(data[start] >> 4, 0):
            raise _handshake.NoAnswer("it does not speak MQTT")
        found.append(Packet(data[start] >> 4, data[start] & 0x0F, bytes(data[place : place + size])))
        start = place + size


def unframe(data: bytearray) -> tuple[int, bytes] | None:
    """Take a websocket frame of a server's from the start of what was received, if there is a whole one: its kind, and what is in it."""
    if len(data) < 2:
        return None
    length, start = data[1] & 0x7F, 2
    if length >= 126:
        start += 2 if length == 126 else 8
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        return None
    found = data[0] & 0x0F, bytes(data[start : start + length])
    del data[: start + length]
    return found


class Client:
    """One connection. Whatever it waits for has to come within the timeout."""

    def __init__(self, connection: socket.socket, *, websockets: bool, timeout: float) -> None:
        self.messages: collections.deque[Message] = collections.deque()
        self._socket, self._websockets, self._timeout = connection, websockets, timeout
        self._frames, self._data = bytearray(), bytearray()
        self._packets: collections.deque[Packet] = collections.deque()
        self._number, self._ended = 0, False

    def log_in(self, name: str | None = None, password: str | None = None, client_id: str = "") -> int:
        """Say who this is; return 0, or the code with which the broker refuses that. A session that it had is gone then."""
        flags = CLEAN_SESSION | (HAS_NAME if name is not None else 0) | (HAS_PASSWORD if password is not None else 0)
        payload = text(client_id) + b"".join(text(item) for item in (name, password) if item is not None)
        self._send(CONNECT, text("MQTT") + bytes([4, flags]) + struct.pack("!H", KEEPALIVE) + payload)
        return self._await(CONNACK)[1]

    def subscribe(self, filters: t.Iterable[str], qos: int = 0) -> bool:
        """Subscribe; return whether the broker took all of it."""
        number = self._next()
        self._send(SUBSCRIBE, number + b"".join(text(one) + bytes([qos]) for one in filters), flags=2)
        return max(self._await(SUBACK, number)[2:]) <= qos

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> None:
        """Publish; with QoS 1 return when the broker has acknowledged it, which it does also with what it drops."""
        number = self._next() if qos else b""
        self._send(PUBLISH, text(topic) + number + payload, flags=qos << 1)
        if qos:
            self._await(PUBACK, number)

    def ping(self) -> None:
        """Return when the broker has dealt with what was sent, and all is here that it sent before."""
        self._send(PINGREQ)
        self._await(PINGRESP)

    def leave(self) -> None:
        """Say goodbye."""
        self._send(DISCONNECT)

    def listen(self, deadline: float) -> None:
        """Take what comes until then."""
        while self._take(deadline):
            pass

    def _next(self) -> bytes:
        self._number = self._number % 0xFFFF + 1
        return struct.pack("!H", self._number)

    def _send(self, kind: int, body: bytes = b"", flags: int = 0) -> None:
        data = packet(kind, body, flags)
        self._socket.settimeout(self._timeout)
        _handshake.say(self._socket, _handshake.frame(data) if self._websockets else data)

    def _await(self, kind: int, start: bytes = b"") -> bytes:
        deadline = time.monotonic() + self._timeout
        while True:
            taken = self._take(deadline)
            if taken is None:
                raise _handshake.NoAnswer("it does not answer")
            if taken.kind == kind and taken.body.startswith(start):
                return taken.body

    def _take(self, deadline: float) -> Packet | None:
        """The next packet, None if it does not come in time. A message is put with the others, and acknowledged."""
        while not self._packets:
            if not self._fill(deadline):
                return None
            self._packets.extend(split(self._data))
        found = self._packets.popleft()
        if found.kind == PUBLISH:
            qos = found.flags >> 1 & 3
            end = 2 + int.from_bytes(found.body[:2], "big")
            if qos:
                self._send(PUBACK, found.body[end : end + 2])
            try:
                self.messages.append(Message(found.body[2:end].decode(), found.body[end + (2 if qos else 0) :]))
            except UnicodeDecodeError:
                raise _handshake.NoAnswer("it does not speak MQTT") from None
        return found

    def _fill(self, deadline: float) -> bool:
        """Receive something; return False if nothing comes in time."""
        if self._ended:
            raise _handshake.NoAnswer("it ended the connection")
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self._socket.settimeout(left)
        try:
            received = self._socket.recv(CHUNK)
        except socket.timeout:
            return False
        if not received:
            raise _handshake.NoAnswer("it ended the connection")
        if self._websockets:
            self._frames += received
            self._unpack()
        else:
            self._data += received
        return True

    def _unpack(self) -> None:
        while True:
            frame = unframe(self._frames)
            if frame is None:
                return
            kind, content = frame
            if kind == CLOSE:
                # What came before it may be the answer.
                self._ended = True
            elif kind == PING:
                _handshake.say(self._socket, _handshake.frame(content, PONG))
            elif kind in (_handshake.BINARY, CONTINUED):
                self._data += content


@contextlib.contextmanager
def connected(listener: dict[str, t.Any], timeout: float) -> t.Iterator[Client]:
    """A connection to a listener. It has to be there, and each answer to come, within so many seconds."""
    with _handshake.opened(listener, time.monotonic() + timeout) as connection:
        yield Client(connection, websockets=listener.get("protocol") == "websockets", timeout=timeout)


def try_login(
    listener: dict[str, t.Any],
    timeout: float,
    username: str | None = None,
    password: str | None = None,
    client_id: str = "",
) -> int:
    """The code with which the broker answers a login, 0 if it accepts the client. Fails if it does not answer."""
    with connected(listener, timeout) as client:
        code = client.log_in(username, password, client_id)
        client.leave()
    return code
