# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's end: a session that the core keeps, and in it what is not acknowledged."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake, _mqtt, _raw_client

from . import mqtt5
from .events import Event

log = logging.getLogger(__name__)

# How many events the core may send without an acknowledgement, as far as its own configuration lets it.
WINDOW = 1000
# What is received at a time: in TLS at most a record, and together about as much as is looked through at once.
RECORD, CHUNK = 16384, 256 * 1024
# Seconds. The core waits one and a half times as long for a sign of life, and the relay does the same.
KEEPALIVE = 15
SILENCE = 1.5 * KEEPALIVE
# Seconds. It gets one so often that in between NATS may take all the time it has, twice: to be there, and to let the relay in. That is
# also less than NATS waits for a sign of life, while the core is not there.
PING_AFTER = 5
ANSWER_TIMEOUT = 8
# Seconds: at first and at most between attempts to connect.
FIRST_DELAY, LONGEST_DELAY = 1, 15


class Refused(_handshake.NoAnswer):
    """The core is there, and says why it does not serve the relay."""


class Core:
    """Connects, and connects again: whenever it is asked for events, which has to be again and again."""

    def __init__(self, host: str, port: int, ca_file: str, username: str, password: str, client_id: str) -> None:
        self.status = "not asked yet"
        # The number of the connection that there is, or will be next. What came by an earlier one and is not acknowledged comes again.
        self.connection = 0
        self._where = f"{host}:{port}"
        self._listener = {"host": host, "port": port, "tls": True, "ca_file": ca_file}
        self._all_retained = True
        self._greeting = mqtt5.connect(client_id, username, password, KEEPALIVE, WINDOW)
        self._opened = contextlib.ExitStack()
        self._socket: socket.socket | None = None
        self._data = bytearray()
        self._sent = self._heard = self._next_attempt = 0.0
        self._delay = FIRST_DELAY

    def take(self, timeout: float, *, wanted: bool = True) -> list[Event]:
        """Some events in their order, as soon as there are any. If none are wanted, they stay where they are."""
        events: list[Event] = []
        with self._kept():
            if not self._is_open():
                time.sleep(max(0, min(timeout, self._next_attempt - time.monotonic())))
            elif not wanted:
                time.sleep(timeout)
                # Nor is it known what else has come.
                self._heard = time.monotonic()
            else:
                events = self._read() or self._wait(timeout)
        return events

    def acknowledge(self, events: t.Iterable[Event]) -> None:
        """Have the core forget them."""
        acknowledgements = b"".join(mqtt5.acknowledge(event.number) for event in events if event.number)
        with self._kept():
            if acknowledgements:
                self._send(acknowledgements)

    def stop(self) -> None:
        """Take no more. What is not acknowledged comes again."""
        with self._kept():
            self._send(_raw_client.packet(_raw_client.DISCONNECT))
        self._opened.close()

    @contextlib.contextmanager
    def _kept(self) -> t.Iterator[None]:
        """Whatever is wrong with the connection is the end of it."""
        try:
            with _handshake.told():
                yield
        except _handshake.NoAnswer as exc:
            self._opened.close()
            self._socket = None
            self._data.clear()
            self.connection += 1
            self._next_attempt = time.monotonic() + self._delay
            self._delay = min(2 * self._delay, LONGEST_DELAY)
            gone = "hung up" if self.status == "connected" else "cannot be reached"
            self._tell(f"{'refuses the relay' if isinstance(exc, Refused) else gone}: {exc}")

    def _tell(self, status: str) -> None:
        if status != self.status:
            self.status = status
            log.info("core %s %s", self._where, status)

    def _is_open(self) -> bool:
        """Open it if it is time to do so, and keep it."""
        now = time.monotonic()
        if self._socket is None:
            if now < self._next_attempt:
                return False
            self._socket = self._opened.enter_context(_handshake.opened(self._listener, now + ANSWER_TIMEOUT))
            # An acknowledgement is small, and what the core waits for.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._heard = time.monotonic()
            self._send(self._greeting)
        elif now - self._sent > PING_AFTER:
            self._send(_raw_client.packet(_raw_client.PINGREQ))
        return True

    def _send(self, data: bytes) -> None:
        if self._socket:
            self._socket.settimeout(ANSWER_TIMEOUT)
            _handshake.say(self._socket, data)
            self._sent = time.monotonic()

    def _wait(self, timeout: float) -> list[Event]:
        return self._read() if select.select([self._socket], [], [], timeout)[0] else []

    def _read(self) -> list[Event]:
        """What is there by now."""
        ended = self._receive()
        events: list[Event] = []
        for packet in _raw_client.split(self._data):
            if packet.kind == _raw_client.PUBLISH:
                events.append(mqtt5.event(packet))
            else:
                self._hear(packet)
        # Only now, for it may have said why.
        if ended:
            raise _raw_client.Ended("it ended the connection")
        return events

    def _receive(self) -> bool:
        """Return whether this is the end."""
        assert self._socket
        self._socket.settimeout(0)
        before = len(self._data)
        with contextlib.suppress(ssl.SSLWantReadError):
            while len(self._data) - before < CHUNK:
                record = self._socket.recv(RECORD)
                if not record:
                    return True
                self._data += record
        now = time.monotonic()
        if len(self._data) > before:
            self._heard = now
        elif now - self._heard > SILENCE:
            raise TimeoutError
        return False

    def _hear(self, packet: _raw_client.Packet) -> None:
        """Whatever is no event."""
        if packet.kind == _raw_client.CONNACK:
            if packet.body[1]:
                raise Refused(_mqtt.reason(packet.body[1]))
            self._send(mqtt5.subscribe("#", qos=1, all_retained=self._all_retained))
        elif packet.kind == _raw_client.SUBACK:
            if packet.body[-1] >= _mqtt.FIRST_REFUSAL:
                raise Refused(_mqtt.reason(packet.body[-1]))
            self._all_retained = False
            self._tell("connected")
            self._delay = FIRST_DELAY
        elif packet.kind == _raw_client.DISCONNECT:
            raise _handshake.NoAnswer(_mqtt.reason(packet.body[0] if packet.body else 0))
