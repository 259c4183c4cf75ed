# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the public gets at every edge, over every way: all events, equal as JSON, and in order."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
import typing as t
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_TLS, QOS, QOS1, TLS_WAYS, WAYS, Account, Mode, PahoSubscriber, Way, publish
from firehose_testing.edges import Edge, Edges
from firehose_testing.fixtures import PROJECT, Firehose
from firehose_testing.gerrit import Gerrit, is_own, topic_of

FIXTURE = pathlib.Path(PROJECT, "tests/fixtures/gerrit-events.jsonl")
EVENTS = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
ROUNDS = 4
ALL_WAYS = [*WAYS, *TLS_WAYS]
# Topics that an engine may have its difficulties with
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
    """The events of all types, several times, each with a number."""
    return [event | {"number": number} for number, event in enumerate(EVENTS * ROUNDS)]


@pytest.fixture(scope="module")
def came(
    core: Firehose, edges: Edges, gerrit: Gerrit, numbered: list[dict[str, t.Any]]
) -> dict[tuple[str, Way], list[tuple[str, t.Any]]]:
    """What each host's public got of Gerrit's events: topics and events, in their order."""
    with contextlib.ExitStack() as stack:
        opened = {
            (host.name, way): stack.enter_context(PahoSubscriber(host.address, way))
            for host in (core, *edges.values())
            for way in (host.ways if isinstance(host, Edge) else ALL_WAYS)
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
    edges: Edges,
    numbered: list[dict[str, t.Any]],
    way: Way,
) -> None:
    wanted = [(topic_of(event), event) for event in numbered]
    for name in (core.name, *(name for name, edge in edges.items() if way in edge.ways)):
        assert came[name, way] == wanted, name


def times_away(edge: Edge) -> int:
    """How often the relay has lost NATS."""
    return edge.host.check_output("journalctl --no-pager --unit firehose-relay").count("NATS is away")


@pytest.mark.parametrize("topic", STRANGE.values(), ids=STRANGE)
def test_no_topic_keeps_another_one_back(core: Firehose, edges: Edges, ci: Account, topic: str) -> None:
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    lost = edges.of("nats").each(times_away)
    with contextlib.ExitStack() as stack:
        public = [
            (edge, way, stack.enter_context(PahoSubscriber(edge.address, way)))
            for edge in edges.values()
            for way in edge.ways
            if not way.tls
        ]
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {topic: payload, "fence": fence})
        for edge, way, subscriber in public:
            subscriber.wait_for(topic="fence", payload=fence)
            wanted = [] if edge.engine == "nats" and topic == STRANGE["a space"] else [topic]
            assert [m.topic for m in subscriber.messages if m.payload == payload] == wanted, (edge, way)
    assert edges.of("nats").each(times_away) == lost


@pytest.mark.parametrize("mode", QOS, ids=str)
def test_events_come_whatever_their_qos_is(core: Firehose, edges: Edges, ci: Account, mode: Mode) -> None:
    payload = str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        public = [stack.enter_context(PahoSubscriber(edge.address, WAYS[0])) for edge in edges.values()]
        publish(core.address, ci, ACCOUNT_TLS, mode, {"ci/qos": payload})
        for subscriber in public:
            subscriber.wait_for(payload=payload)


def test_what_nats_cannot_carry_is_told_and_counted(core: Firehose, edges: Edges, ci: Account) -> None:
    topic, fence = f"ci/with a space/{uuid.uuid4()}", str(uuid.uuid4())
    told = f"an event of ci on the topic '{topic}' is not handed on: NATS knows no topics with blanks"

    def refused(edge: Edge) -> int:
        status = edge.host.check_output("systemctl show --value --property StatusText firehose-relay")
        return int(status.rpartition(", ")[2].removesuffix(" refused"))

    def heard(edge: Edge) -> str:
        with PahoSubscriber(edge.address, WAYS[0], ["fence"]) as subscriber:
            publish(core.address, ci, ACCOUNT_TLS, QOS1, {"fence": fence})
            subscriber.wait_for(payload=fence)
        return edge.host.check_output("journalctl --no-pager --unit firehose-relay")

    before = edges.of("nats").each(refused)
    publish(core.address, ci, ACCOUNT_TLS, QOS1, dict.fromkeys([topic], "x"))
    for name, journal in edges.of("nats").each(heard).items():
        assert journal.count(told) == 1, name
    time.sleep(2)  # it tells systemd once in a second
    assert edges.of("nats").each(refused) == {name: number + 1 for name, number in before.items()}
