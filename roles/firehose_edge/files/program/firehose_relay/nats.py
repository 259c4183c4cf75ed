# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NATS on this host: one connection, which ends for good if anything is wrong."""

from __future__ import annotations

import queue
import time
import typing as t

import paho.mqtt.client as paho

from .events import Event, send_at_once

# Seconds
ANSWER_TIMEOUT = 10
KEEPALIVE = 30


class NatsError(Exception):
    """Why there is no connection any more."""


class Nats:
    """A connection, while it is entered. At QoS 0, so that NATS stores nothing: what it has not taken, the core still has."""

    def __init__(self, host: str, port: int, username: str, password: str) -> None:
        self._where = host, port, KEEPALIVE
        self._answers: queue.SimpleQueue[tuple[str, t.Any]] = queue.SimpleQueue()
        self._client = client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311, reconnect_on_failure=False
        )
        client.username_pw_set(username, password)
        client.on_socket_open = send_at_once
        client.on_connect = lambda _client, _data, _flags, reason, _properties: self._answers.put(("connect", reason))
        client.on_unsubscribe = lambda _client, _data, number, *_about: self._answers.put(("fence", number))
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: self._answers.put(("end", reason))

    def __enter__(self) -> t.Self:
        try:
            self._client.connect(*self._where)
        except OSError as exc:
            raise NatsError(f"cannot be reached: {exc}") from None
        self._client.loop_start()
        try:
            reason = self._answer("connect")
            if reason.is_failure:
                raise NatsError(f"refuses the relay: {reason}")
        except NatsError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def hand_over(self, events: t.Iterable[Event]) -> None:
        """Publish, and return when NATS has passed all of them to whoever is subscribed. Raises NatsError."""
        for event in events:
            self._client.publish(event.topic, event.payload, retain=event.retain)
        # NATS does one thing after the other. The answer to something without any effect says that it is done with all before.
        _result, number = self._client.unsubscribe("fence")
        while self._answer("fence") != number:
            pass

    def _answer(self, wanted: str) -> t.Any:
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while True:
            try:
                kind, about = self._answers.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise NatsError(f"says nothing for {ANSWER_TIMEOUT} seconds") from None
            if kind == "end":
                raise NatsError(f"hung up: {about}")
            if kind == wanted:
                return about
