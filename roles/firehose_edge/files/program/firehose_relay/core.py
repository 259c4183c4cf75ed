# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's end: a session that the core keeps, and in it what is not acknowledged."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import typing as t

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from .events import Event

log = logging.getLogger(__name__)

# How many events the core may send without an acknowledgement, as far as its own configuration lets it.
WINDOW = 1000
# How many events are handed over at a time, and about how many bytes of them.
MOST = 500
MOST_BYTES = 1024 * 1024
# Seconds: until a line that is cut is noticed, at first and at most between attempts to connect.
KEEPALIVE = 15
FIRST_DELAY, LONGEST_DELAY = 1, 15
FOR_EVER = 0xFFFFFFFF


class Core:
    """Connects, and connects again, in a thread of paho's own."""

    def __init__(self, host: str, port: int, ca_file: str, username: str, password: str, client_id: str) -> None:
        self.status = "not asked yet"
        self._where = f"{host}:{port}"
        self._connection = 0
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True)
        self._client.username_pw_set(username, password)
        self._client.tls_set(ca_file)
        self._client.reconnect_delay_set(FIRST_DELAY, LONGEST_DELAY)
        # An acknowledgement is small, and what the core waits for.
        self._client.on_socket_open = lambda _client, _data, connection: connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *_args: self._tell("cannot be reached")
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = FOR_EVER
        session.ReceiveMaximum = WINDOW
        self._client.connect_async(host, port, KEEPALIVE, clean_start=False, properties=session)

    def start(self) -> None:
        """Begin to take events."""
        self._client.loop_start()

    def stop(self) -> None:
        """Take no more. What is not acknowledged comes again."""
        self._client.disconnect()
        self._client.loop_stop()

    def is_current(self, event: Event) -> bool:
        """Whether it came by the connection that there is now. If not, the core sends it again."""
        return event.connection == self._connection

    def take(self, timeout: float) -> list[Event]:
        """Some events in their order, as soon as there are any."""
        found: list[Event] = []
        size = 0
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=timeout))
            while len(found) < MOST and size < MOST_BYTES:
                size += len(found[-1].payload)
                found.append(self._events.get_nowait())
        return [event for event in found if self.is_current(event)]

    def acknowledge(self, events: t.Iterable[Event]) -> None:
        """Have the core forget them."""
        for event in events:
            if event.number and self.is_current(event):
                self._client.ack(event.number, 1)

    def _tell(self, status: str) -> None:
        if status != self.status:
            self.status = status
            log.info("core %s %s", self._where, status)

    def _on_connect(self, client: t.Any, _data: t.Any, _flags: t.Any, reason: t.Any, _properties: t.Any) -> None:
        if reason.is_failure:
            self._tell(f"refuses the relay: {reason}")
            return
        self._tell("connected")
        # What is retained comes once, with a session that is new.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        client.subscribe("#", options=options)

    def _on_disconnect(self, _client: t.Any, _data: t.Any, _flags: t.Any, reason: t.Any, _properties: t.Any) -> None:
        self._connection += 1
        if self.status == "connected":
            self._tell(f"hung up: {reason}")

    def _on_message(self, _client: t.Any, _data: t.Any, message: paho.MQTTMessage) -> None:
        self._events.put(Event(self._connection, message.mid, message.topic, message.payload, message.retain))
