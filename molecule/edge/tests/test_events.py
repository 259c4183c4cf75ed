# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every subscriber of every edge host gets all events, in order and with equal JSON."""

from __future__ import annotations

import contextlib
import json
import pathlib
import typing as t
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_TLS, QOS, QOS1, WAYS, Account, Mode, PahoSubscriber, Way, publish
from firehose_testing.edges import ALL_WAYS
from firehose_testing.fixtures import PROJECT, Firehose, Firehoses
from firehose_testing.gerrit import Gerrit, is_own, topic_of

FIXTURE = pathlib.Path(PROJECT, "tests/fixtures/gerrit-events.jsonl")
EVENTS = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
ROUNDS = 4
# Unusual topics
STRANGE = {
    "dots": "openstack/oslo.config/a..b/.",
    "a space": "with a/space",
    "empty levels": "/lead//trail/",
    "percent": "a%20b/%/%%",
    "wildcards of others": "a*b/>/*",
    "not ASCII": "日本/ü/🚒",
    "very long": "/".join(["level"] * 199),
    "many bytes": "x" * 60000,
}


@pytest.fixture(scope="module")
def numbered() -> list[dict[str, t.Any]]:
    """Events of all types, several times, each with a number."""
    return [event | {"number": number} for number, event in enumerate(EVENTS * ROUNDS)]


@pytest.fixture(scope="module")
def came(
    core: Firehose, edges: Firehoses, gerrit: Gerrit, numbered: list[dict[str, t.Any]]
) -> dict[tuple[str, Way], list[tuple[str, t.Any]]]:
    """Topics and events that each subscriber of each host received, in order."""
    with contextlib.ExitStack() as stack:
        opened = {
            (host.name, way): stack.enter_context(PahoSubscriber(host.address, way))
            for host in (core, *edges.values())
            for way in ALL_WAYS
        }
        gerrit.wait_until_heard([*opened.values()])
        gerrit.feed(json.dumps(event) for event in numbered)
        gerrit.wait_until_heard([*opened.values()])
        return {
            key: [
                (message.topic, json.loads(message.payload))
                for message in subscriber.messages
                if not is_own(message.topic) and not message.topic.startswith("gerrit/germqtt/")
            ]
            for key, subscriber in opened.items()
        }


@pytest.mark.parametrize("way", ALL_WAYS, ids=str)
def test_events_are_equal_everywhere(
    came: dict[tuple[str, Way], list[tuple[str, t.Any]]],
    core: Firehose,
    edges: Firehoses,
    numbered: list[dict[str, t.Any]],
    way: Way,
) -> None:
    wanted = [(topic_of(event), event) for event in numbered]
    for name in (core.name, *edges):
        assert came[name, way] == wanted, name


@pytest.mark.parametrize("topic", STRANGE.values(), ids=STRANGE)
def test_unusual_topics_do_not_block_other_topics(core: Firehose, edges: Firehoses, ci: Account, topic: str) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        public = [
            (edge, way, stack.enter_context(PahoSubscriber(edge.address, way)))
            for edge in edges.values()
            for way in WAYS
        ]
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: payload, "fence": fence})
        for edge, way, subscriber in public:
            subscriber.wait_for(topic="fence", payload=fence)
            assert [m.topic for m in subscriber.messages if m.payload == payload] == [topic], (edge, way)


@pytest.mark.parametrize("mode", QOS, ids=str)
def test_events_arrive_at_each_qos(core: Firehose, edges: Firehoses, ci: Account, mode: Mode) -> None:
    payload = str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        public = [stack.enter_context(PahoSubscriber(edge.address, WAYS[0])) for edge in edges.values()]
        publish(core.address, ci, ACCOUNT_TLS, mode, {"ci/qos": payload})
        for subscriber in public:
            subscriber.wait_for(payload=payload)
