# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same for subscribers with both engines, and what is not: the table in the role's README."""

from __future__ import annotations

import time
import typing as t
import uuid

import paho.mqtt.client as paho
import pytest
from firehose_testing.clients import (
    ACCOUNT_TLS,
    ANONYMOUS,
    QOS1,
    QOS2,
    RETAINED,
    TLS_WAYS,
    WAYS,
    Account,
    PahoSubscriber,
    Way,
    paho_client,
    publish,
)
from firehose_testing.edges import Edge, Edges
from firehose_testing.fixtures import Firehose
from firehose_testing.waiting import wait_until

TCP = Way("tcp", "3.1.1")
ENGINES = ["mosquitto", "nats"]
# What a broker says to whoever speaks MQTT 5 and should not: CONNACK of MQTT 3.1.1, "unacceptable protocol version".
UNSUPPORTED = "Unsupported protocol version"


class Client:
    """One that remembers what it is told."""

    def __init__(self, edge: Edge, client_id: str = "", *, clean: bool = True, way: Way = TCP) -> None:
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


@pytest.fixture(params=ENGINES)
def edge(edges: Edges, request: pytest.FixtureRequest) -> Edge:
    """One of each engine."""
    return next(iter(edges.of(request.param).values()))


@pytest.mark.parametrize("way", [way for way in (*WAYS, *TLS_WAYS) if way.version == "5"], ids=str)
def test_mqtt_5(edge: Edge, way: Way) -> None:
    with Client(edge, way=way) as client:
        assert client.connected == [(False, "Success" if edge.engine == "mosquitto" else UNSUPPORTED)]


def test_qos(edge: Edge, core: Firehose, ci: Account) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with Client(edge) as client:
        assert client.subscribe(("ci/a", 0), ("ci/b", 1), ("ci/c", 2)) == [0, 0, 0]
        publish(core.address, ci, ACCOUNT_TLS, QOS2, dict.fromkeys(["ci/a", "ci/b", "ci/c"], payload))
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {"ci/a": fence})
        client.wait_for(fence)
        # Whatever was granted
        assert client.wait_for(payload) == [(0, False)] * 3


def test_overlapping_filters(edge: Edge, core: Firehose, ci: Account) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with Client(edge) as client:
        client.subscribe(("ci/#", 0), ("ci/+", 0), ("ci/a", 0))
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {"ci/a": payload, "ci/b": fence})
        client.wait_for(fence)
        assert len(client.wait_for(payload)) == {"mosquitto": 1, "nats": 3}[edge.engine]


def test_retained_messages(edge: Edge, core: Firehose, ci: Account) -> None:
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


def test_a_session_keeps_filters_with_mosquitto_and_no_messages(edge: Edge, core: Firehose, ci: Account) -> None:
    name, topic = str(uuid.uuid4()), f"ci/{uuid.uuid4()}"
    with Client(edge, name, clean=False) as first:
        first.subscribe((topic, 1))
    with PahoSubscriber(edge.address, TCP, [topic]) as other:
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: "away"})
        other.wait_for(payload="away")
    with Client(edge, name, clean=False) as again:
        assert again.connected == [(edge.engine == "mosquitto", "Success")]
        if edge.engine == "nats":
            again.subscribe((topic, 1))
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: "back"})
        again.wait_for("back")
        assert [one.payload for one in again.got] == [b"back"]


def test_many_filters(edge: Edge) -> None:
    with Client(edge) as client:
        granted = client.subscribe(*((f"ci/{number}", 0) for number in range(250)))
        assert granted.count(0) == {"mosquitto": 250, "nats": 200}[edge.engine]
    with Client(edge) as client:
        granted = client.subscribe(*((f"ci/{number}/#", 0) for number in range(250)))
        assert granted.count(0) == {"mosquitto": 250, "nats": 100}[edge.engine]


def test_client_ids_of_any_length(edge: Edge) -> None:
    with Client(edge, "x" * 256) as client:
        assert client.connected == [(False, "Success")]
    if edge.engine == "mosquitto":
        with Client(edge, "x" * 257) as client:
            assert client.connected == [(False, "Success")]


def test_publishing_at_qos_2_ends_a_connection(edge: Edge) -> None:
    with Client(edge) as client:
        client.publish("ci/x", 2)
        wait_until(lambda: client.ended, "it is disconnected", 10)


def test_sys_topics(edge: Edge) -> None:
    with Client(edge) as client:
        granted = client.subscribe(("$SYS/#", 0), ("$JS/#", 0), ("$MQTT/sess/#", 0))
        assert granted == [0, 0, 0]
        time.sleep(1)
        assert client.got == []
