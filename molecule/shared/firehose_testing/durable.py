# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribers with persistent sessions, and many events for them."""

from __future__ import annotations

import contextlib
import threading
import typing as t
import uuid

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .clients import TIMEOUT, Account, Way, paho_client

PADDING = "x" * 1000
MANY = 180


def number(count: int) -> str:
    """The message with a number."""
    return f"{count} {PADDING}"


class DurableReader:
    """Subscribes to the CI's topic at QoS 1, and reconnects with the same client id.

    It subscribes again only if the session does not exist.
    """

    def __init__(self, address: str, account: Account, way: Way) -> None:
        self.payloads: list[str] = []
        # How often the session existed.
        self.returns = 0
        self._address, self._account, self._way = address, account, way
        self._id = f"durable-{uuid.uuid4()}"
        self._changed = threading.Condition()

    def _take(self, payload: bytes) -> None:
        with self._changed:
            self.payloads.append(payload.decode())
            self._changed.notify_all()

    @contextlib.contextmanager
    def connected(self, way: Way | None = None) -> t.Iterator[None]:
        """Connect and subscribe, possibly in another way than before."""
        way = way or self._way
        client, subscribed = paho_client(self._account, way, self._id, clean=False), threading.Event()

        def on_connect(_client: paho.Client, _data: t.Any, flags: t.Any, *_others: t.Any) -> None:
            if flags.session_present:
                self.returns += 1
                subscribed.set()
            else:
                client.subscribe([("ci/#", 1)])

        client.on_connect = on_connect
        client.on_subscribe = lambda *_args: subscribed.set()
        client.on_message = lambda _client, _data, message: self._take(message.payload)
        _connect(client, self._address, way, lasting=True)
        client.loop_start()
        try:
            assert subscribed.wait(TIMEOUT), f"no subscription at {self._address} over {way}"
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    def wait_for(self, count: int) -> None:
        """Wait until this number of messages has arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.payloads) >= count, MANY), len(self.payloads)


def _connect(client: paho.Client, address: str, way: Way, *, lasting: bool) -> None:
    if way.version != "5":
        client.connect(address, way.port)
        return
    properties = Properties(PacketTypes.CONNECT)
    if lasting:
        properties.SessionExpiryInterval = 3600
    client.connect(address, way.port, clean_start=not lasting, properties=properties)


def publish_numbers(
    address: str, account: Account, way: Way, topic: str, numbers: t.Iterable[int], qos: int = 1
) -> None:
    """Publish messages of 1 KB that begin with numbers, and return when the broker has received them."""
    client = paho_client(account, way)
    client.max_inflight_messages_set(100)
    _connect(client, address, way, lasting=False)
    client.loop_start()
    try:
        sent = [client.publish(topic, number(count), qos) for count in numbers]
        for info in sent:
            info.wait_for_publish(MANY)
            assert info.is_published()
        # At QoS 0, messages may be in flight. The answer to this one arrives after them. No reader gets it.
        client.publish("$end", "", 1).wait_for_publish(MANY)
    finally:
        client.disconnect()
        client.loop_stop()
