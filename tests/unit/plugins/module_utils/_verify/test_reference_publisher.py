# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference publisher that a verification runs on the firehose's host, tested with a simulated broker."""

from __future__ import annotations

import collections
import contextlib
import json
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client as mqtt
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan, reference_publisher

TOPIC = "firehose/verify/1f/beacon"
ZUUL = reference_publisher.Publisher(3, "zuul", "secret", "zuul/x")


class Broker:
    """Accepts some accounts, and sends every message to every client."""

    def __init__(self) -> None:
        self.passwords = {"beacon": "b", "zuul": "secret"}
        self.clients: list[Client] = []
        self.published: list[tuple[str, dict]] = []
        self.takes_subscriptions = self.delivers = True
        self.ends_after = 3

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, json.loads(payload)))
        for client in self.clients if self.delivers else ():
            client.messages.append(Message(topic, payload))


class Client:
    """The methods of a client, without a connection."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.messages, self.turns = broker, collections.deque(), 0

    def log_in(self, name: str, password: str) -> int:
        return 0 if self.broker.passwords.get(name) == password else 5

    def subscribe(self, _filters: list[str], _qos: int) -> None:
        if not self.broker.takes_subscriptions:
            raise Failure("subscription", "the broker rejected the subscription")

    def publish(self, topic: str, payload: bytes) -> None:
        self.broker.publish(topic, payload)

    def listen(self, _deadline: float) -> None:
        self.turns += 1
        time.sleep(0.01)
        if self.turns == self.broker.ends_after:
            raise Failure("lost", "the connection was lost")

    def ping(self) -> None:
        pass

    leave = ping


@pytest.fixture
def broker(monkeypatch) -> Broker:
    made = Broker()

    @contextlib.contextmanager
    def connected(_endpoint, _timeout):
        client = Client(made)
        made.clients.append(client)
        yield client
        made.clients.remove(client)

    monkeypatch.setattr(mqtt, "connected", connected)
    return made


def work(publishers=(), password="b", time_limit=60) -> list[str]:
    """Do all the work; return its reports."""
    told: list[str] = []
    endpoint = {"host": "127.0.0.1", "port": 1884}
    beacon = reference_publisher.Beacon(
        endpoint, ("beacon", password), "1f", TOPIC, [TOPIC], publishers, 0.1, time_limit
    )
    beacon.work(told.append)
    return told


def test_beacons_are_numbered_until_the_session_ends(broker):
    assert work()[0] == "ready"
    assert [(topic, said["beacon"]) for topic, said in broker.published] == [(TOPIC, 1), (TOPIC, 2), (TOPIC, 3)]


def test_the_publisher_ends_at_its_time_limit(broker):
    broker.ends_after = None
    begin = time.monotonic()
    assert work(time_limit=0.3)[0] == "ready"
    assert time.monotonic() - begin < 10


def test_beacons_report_received_messages(broker):
    publish = broker.publish

    def with_company(topic, payload):
        publish(topic, payload)
        for content in ({"attempt": 7}, {"attempt": "x"}, {"publisher": 2}):
            publish("t", plan.payload("1f", **content).encode())
        publish("t", plan.payload("another", attempt=8).encode())

    broker.publish = with_company
    work()
    beacons = [said for topic, said in broker.published if topic == TOPIC]
    assert [(said["attempts"], said["publishers"]) for said in beacons] == [([], []), ([7], [2]), ([7], [2])]


@pytest.mark.parametrize(("password", "failed"), [("secret", {}), ("changed", {"3": "not authorized"})])
def test_publishers_publish_repeatedly(broker, monkeypatch, password, failed):
    monkeypatch.setattr(plan, "ROUND", 0)
    broker.passwords["zuul"] = password
    broker.ends_after = 4
    assert work([ZUUL])[0] == "ready"
    theirs = [said for topic, said in broker.published if topic == "zuul/x"]
    assert theirs == ([] if failed else [{"type": "firehose-verify", "run": "1f", "publisher": 3}] * 3)
    *_others, last = [said for topic, said in broker.published if topic == TOPIC]
    assert last["publishers"] == ([] if failed else [3])
    assert failed.keys() == last["failed"].keys()
    assert all(failed[number] in last["failed"][number] for number in failed)
    assert "secret" not in json.dumps(broker.published) + repr(ZUUL)


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        ({}, {"password": "wrong"}, "does not let this client in: not authorized"),
        ({"takes_subscriptions": False}, {}, "rejected the subscription"),
        ({"delivers": False, "ends_after": None}, {}, "does not come back"),
        ({"ends_after": 1}, {}, "was lost"),
    ],
)
def test_the_reason_of_a_failure_is_reported(broker, monkeypatch, change, options, why):
    monkeypatch.setattr(reference_publisher.time, "monotonic", iter(range(1000)).__next__)
    vars(broker).update(change)
    [told] = work(**options)
    assert told.startswith("127.0.0.1 port 1884: ")
    assert why in told
