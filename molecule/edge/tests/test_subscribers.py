# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What subscribers of an edge host are allowed."""

from __future__ import annotations

import time
import typing as t
import uuid

import paho.mqtt.client as paho
import pytest
from firehose_testing import subscribing
from firehose_testing.clients import (
    ACCOUNT_TLS,
    ANONYMOUS,
    QOS1,
    QOS2,
    RETAINED,
    WAYS,
    Account,
    PahoSubscriber,
    Way,
    paho_client,
    publish,
)
from firehose_testing.edges import ALL_WAYS
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.waiting import wait_until

TCP = Way("tcp", "3.1.1")


class Client:
    """A client that keeps all answers."""

    def __init__(self, edge: Firehose, client_id: str = "", *, clean: bool = True, way: Way = TCP) -> None:
        self.connected: list[tuple[bool, str]] = []
        self.granted: list[int] = []
        self.got: list[paho.MQTTMessage] = []
        self._client = paho_client(ANONYMOUS, way, client_id, clean=clean)
        self._client.on_connect = lambda _client, _data, flags, reason, _properties: self.connected.append(
            (flags.session_present, str(reason))
        )
        self._client.on_subscribe = lambda _client, _data, _number, codes, _properties: self.granted.extend(
            code.value for code in codes
        )
        self.ended = False
        self._client.on_disconnect = lambda *_args: setattr(self, "ended", True)
        self._client.on_message = lambda _client, _data, message: self.got.append(message)
        self._client.connect(edge.address, way.port)

    def __enter__(self) -> t.Self:
        self._client.loop_start()
        wait_until(lambda: self.connected, "it is answered", 10)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, *filters: tuple[str, int]) -> list[int]:
        """Return which QoS is granted for each."""
        before = len(self.granted)
        self._client.subscribe([*filters])
        wait_until(lambda: len(self.granted) > before, "it is subscribed", 10)
        return self.granted[before:]

    def publish(self, topic: str, qos: int) -> None:
        self._client.publish(topic, "x", qos)

    def wait_for(self, payload: str) -> list[tuple[int, bool]]:
        """Wait for a message; return QoS and retain flag of all its copies, once the next one has come."""
        wait_until(lambda: payload.encode() in [one.payload for one in self.got], "it is there", 10)
        return [(one.qos, one.retain) for one in self.got if one.payload == payload.encode()]


@pytest.fixture
def edge(edges: Firehoses) -> Firehose:
    """One of the edge hosts."""
    return next(iter(edges.values()))


@pytest.mark.parametrize("way", [way for way in ALL_WAYS if way.version == "5"], ids=str)
def test_mqtt_5(edge: Firehose, way: Way) -> None:
    with Client(edge, way=way) as client:
        assert client.connected == [(False, "Success")]


def test_qos(edge: Firehose, core: Firehose, ci: Account) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with Client(edge) as client:
        assert client.subscribe(("ci/a", 0), ("ci/b", 1), ("ci/c", 2)) == [0, 0, 0]
        publish(core.address, ci, ACCOUNT_TLS, QOS2, dict.fromkeys(["ci/a", "ci/b", "ci/c"], payload))
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {"ci/a": fence})
        client.wait_for(fence)
        # Whatever was granted
        assert client.wait_for(payload) == [(0, False)] * 3


def test_overlapping_filters(edge: Firehose, core: Firehose, ci: Account) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with Client(edge) as client:
        client.subscribe(("ci/#", 0), ("ci/+", 0), ("ci/a", 0))
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {"ci/a": payload, "ci/b": fence})
        client.wait_for(fence)
        assert client.wait_for(payload) == [(0, False)]


def test_retained_messages(edge: Firehose, core: Firehose, ci: Account) -> None:
    topic, payload = f"ci/retained/{uuid.uuid4()}", str(uuid.uuid4())
    with Client(edge) as early, Client(edge) as late:
        early.subscribe((topic, 0))
        publish(core.address, ci, ACCOUNT_TLS, RETAINED, {topic: payload})
        assert early.wait_for(payload) == [(0, False)]
        late.subscribe((topic, 0))
        assert late.wait_for(payload) == [(0, True)]
        publish(core.address, ci, ACCOUNT_TLS, RETAINED, {topic: ""})
        early.wait_for("")
    with Client(edge) as last:
        last.subscribe((topic, 0))
        time.sleep(1)
        assert last.got == []


def test_a_session_keeps_filters_and_no_messages(edge: Firehose, core: Firehose, ci: Account) -> None:
    name, topic = str(uuid.uuid4()), f"ci/{uuid.uuid4()}"
    with Client(edge, name, clean=False) as first:
        first.subscribe((topic, 1))
    with PahoSubscriber(edge.address, TCP, [topic]) as other:
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: "away"})
        other.wait_for(payload="away")
    with Client(edge, name, clean=False) as again:
        assert again.connected == [(True, "Success")]
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: "back"})
        again.wait_for("back")
        assert [one.payload for one in again.got] == [b"back"]


def test_many_filters(edge: Firehose) -> None:
    with Client(edge) as client:
        assert client.subscribe(*((f"ci/{number}", 0) for number in range(250))) == [0] * 250
        assert client.subscribe(*((f"ci/{number}/#", 0) for number in range(250))) == [0] * 250


def test_publishing_at_qos_2_ends_a_connection(edge: Firehose) -> None:
    with Client(edge) as client:
        client.publish("ci/x", 2)
        wait_until(lambda: client.ended, "it is disconnected", 10)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_sys_topics(edges: Firehoses, way: Way) -> None:
    def subscribe(edge: Firehose) -> tuple[list[int], list[paho.MQTTMessage]]:
        with Client(edge, way=way) as client:
            granted = client.subscribe(("$SYS/#", 0), ("$CONTROL/#", 0), ("$other/#", 0))
            time.sleep(1)
            return granted, client.got

    assert edges.each(subscribe) == {name: ([0, 0, 0], []) for name in edges}


@pytest.mark.parametrize("case", subscribing.CASES, ids=str)
def test_what_subscribers_are_allowed(edges: Firehoses, core: Firehose, ci: Account, case: subscribing.Case) -> None:
    """The same as at a core host."""

    def event(payload: str) -> None:
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {subscribing.TOPIC: payload})

    edges.each(lambda edge: subscribing.check(case, edge, event))
