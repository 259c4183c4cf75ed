# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each event that Gerrit streams reaches every subscriber once and unchanged, on its topic."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import typing as t

import pytest
from firehose_testing.clients import TLS_WAYS, WAYS, Message, PahoSubscriber, Subscriber
from firehose_testing.fixtures import Firehoses, OpenClient
from firehose_testing.gerrit import Gerrit, is_own, topic_of
from firehose_testing.waiting import wait_until
from paho.mqtt.client import topic_matches_sub

FIXTURE = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], "tests/fixtures/gerrit-events.jsonl")
LINES = FIXTURE.read_text(encoding="utf-8").splitlines()
EVENTS = [json.loads(line) for line in LINES]

CLIENTS = [f"paho-{way}" for way in (*WAYS, *TLS_WAYS)]
CLIENTS += ["mqttjs-websockets-3.1.1", "mqttjs-websockets-5", "mosquitto_sub-tcp-3.1.1", "mosquitto_sub-tcp-5"]

FILTERS = [
    "gerrit/#",
    "gerrit/openstack/#",
    "gerrit/openstack/nova/#",
    "gerrit/openstack/nova/comment-added",
    "gerrit/+/+/comment-added",
    "gerrit/openstack/+/change-merged",
    "+/+/+/ref-updated",
    "gerrit/openinfra/#",
    "gerrit/All-Projects/+",
    "gerrit/+/ref-updated",
    "gerrit//+",
]

GERMQTT = "gerrit/germqtt"

Streams = dict[tuple[str, str, str], list[Message]]


def in_order(pairs: t.Iterable[tuple[str, t.Any]]) -> list[tuple[str, str]]:
    """Topics and events in a sorted order, with events as text with sorted keys."""
    return sorted((topic, json.dumps(event, sort_keys=True)) for topic, event in pairs)


@pytest.fixture(scope="module")
def streams(firehoses: Firehoses, gerrit: Gerrit, clients: dict[str, OpenClient]) -> Streams:
    """Messages received for the fixture's events, by host, client and filter."""
    wanted = [(client, "#") for client in CLIENTS]
    wanted += [(client, topic) for topic in FILTERS for client in ("paho-tcp-5", "paho-websockets-3.1.1")]
    with contextlib.ExitStack() as stack:
        opened: dict[tuple[str, str, str], Subscriber] = {
            (name, client, topic): stack.enter_context(clients[client](firehose.address, [topic]))
            for name, firehose in firehoses.items()
            for client, topic in wanted
        }
        all_hearing = [subscriber for (_name, _client, topic), subscriber in opened.items() if topic == "#"]
        gerrit.wait_until_heard(all_hearing)
        gerrit.feed(LINES)
        gerrit.wait_until_heard(all_hearing)
        for name, firehose in firehoses.items():
            opened[name, "latecomer", "#"] = stack.enter_context(PahoSubscriber(firehose.address, WAYS[0]))
        gerrit.wait_until_heard([opened[name, "latecomer", "#"] for name in firehoses])
    return {
        key: [m for m in subscriber.messages if not is_own(m.topic) and not m.topic.startswith(f"{GERMQTT}/")]
        for key, subscriber in opened.items()
    }


@pytest.mark.parametrize("client", CLIENTS)
def test_every_event_arrives_once_and_unchanged(streams: Streams, name: str, client: str) -> None:
    got = streams[name, client, "#"]
    assert in_order((message.topic, json.loads(message.payload)) for message in got) == in_order(
        (topic_of(event), event) for event in EVENTS
    )


def test_events_are_not_retained(streams: Streams, name: str) -> None:
    assert streams[name, "latecomer", "#"] == []


@pytest.mark.parametrize("client", ["paho-tcp-5", "paho-websockets-3.1.1"])
@pytest.mark.parametrize("topic", FILTERS)
def test_a_topic_filter_selects_the_matching_events(streams: Streams, name: str, client: str, topic: str) -> None:
    expected = [(topic_of(event), event) for event in EVENTS if topic_matches_sub(topic, topic_of(event))]
    assert expected, "the fixture has no event for this filter"
    got = streams[name, client, topic]
    assert in_order((message.topic, json.loads(message.payload)) for message in got) == in_order(expected)


def test_germqtt_publishes_its_status(firehoses: Firehoses, streams: Streams, name: str) -> None:
    """The status is retained, and is published again some time after it has changed."""
    assert streams
    with PahoSubscriber(firehoses[name].address, WAYS[0], [f"{GERMQTT}/status"]) as subscriber:
        subscriber.wait_for(topic=f"{GERMQTT}/status")
        assert subscriber.messages[0].retain

        def status() -> dict[str, t.Any]:
            return json.loads(subscriber.messages[-1].payload)

        wait_until(lambda: status()["stored"] >= len(EVENTS), "all are stored", 30, lambda: str(status()))
        told = status()
    assert (told["state"], told["gerrit"]) == ("online", "connected")
    assert told["unusable"] == told["refused"] == told["dropped"] == 0


def test_the_fixture_has_many_kinds_of_events() -> None:
    assert len({event["type"] for event in EVENTS}) >= 20
