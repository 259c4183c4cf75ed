# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Anonymous clients get events as they arrive. The brokers store nothing for them."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from firehose_testing.clients import (
    ACCOUNT_WAYS,
    ANONYMOUS,
    QOS1,
    QOS2,
    RETAINED,
    TLS_WAYS,
    WAYS,
    Mode,
    PahoSubscriber,
    Way,
    publish,
)
from firehose_testing.durable import DurableReader, number, publish_numbers
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import HAPROXY, at_each_broker
from firehose_testing.sessions import Session
from firehose_testing.waiting import wait_until


def event(firehose: Firehose) -> str:
    """Publish an event, and return its payload."""
    payload = str(uuid.uuid4())
    publish(firehose.address, firehose.publishers["ci-1"], ACCOUNT_WAYS[0], QOS1, {"ci/1/public": payload})
    return payload


@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS], ids=str)
def test_anonymous_clients_get_events_at_qos_0(firehoses: Firehoses, name: str, way: Way) -> None:
    with PahoSubscriber(firehoses[name].address, way) as subscriber:
        payload = event(firehoses[name])
        subscriber.wait_for(payload=payload)
        assert [message.qos for message in subscriber.messages if message.payload == payload] == [0]


def test_overlapping_filters_deliver_an_event_once(firehoses: Firehoses, name: str) -> None:
    filters = ["#", "ci/#", "ci/+/public", "ci/1/public", *(f"ci/{number}/many" for number in range(200))]
    with PahoSubscriber(firehoses[name].address, WAYS[0], filters) as subscriber:
        payloads = [event(firehoses[name]) for _each in range(2)]
        subscriber.wait_for(payload=payloads[-1])
        assert [message.payload for message in subscriber.messages if message.topic == "ci/1/public"] == payloads


def test_a_retained_message_is_delivered_until_it_is_removed(firehoses: Firehoses, name: str) -> None:
    firehose, topic, way = firehoses[name], f"ci/1/{uuid.uuid4()}", WAYS[0]

    def retain(payload: str) -> None:
        """Return when each public broker has it."""
        publish(firehose.address, firehose.publishers["ci-1"], ACCOUNT_WAYS[0], RETAINED, {topic: payload})
        for subscriber in early:
            subscriber.wait_for(payload=payload)

    def late() -> list[tuple[str, bool]]:
        with contextlib.ExitStack() as later:
            found = at_each_broker(later, firehose, way, [topic, "ci/1/public"])
            fence = event(firehose)
            for subscriber in found:
                subscriber.wait_for(payload=fence)
            return [(m.payload, m.retain) for subscriber in found for m in subscriber.messages if m.topic == topic]

    with contextlib.ExitStack() as stack:
        early = at_each_broker(stack, firehose, way, [topic])
        retain("retained")
        assert {*late()} == {("retained", True)}
        retain("")
        assert late() == []
        assert {message.retain for subscriber in early for message in subscriber.messages} == {False}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_session_ends_with_its_connection(firehoses: Firehoses, name: str, way: Way) -> None:
    """Even if the client requests a persistent session. A client would reach the broker that has it sooner or later."""
    firehose, reader = firehoses[name], DurableReader(firehoses[name].address, ANONYMOUS, way)
    sent: list[str] = []
    with contextlib.ExitStack() as stack:
        witnesses = at_each_broker(stack, firehose, way, ["ci/#"])
        for _turn in range(2 * len(witnesses)):
            with reader.connected():
                sent.append(event(firehose))
                reader.wait_for(len(sent))
            missed = event(firehose)
            for witness in witnesses:
                witness.wait_for(payload=missed)
    assert reader.returns == 0
    assert reader.payloads == sent


@pytest.mark.parametrize("mode", [QOS1, QOS2], ids=str)
def test_publishing_disconnects_an_anonymous_client(firehoses: Firehoses, name: str, mode: Mode) -> None:
    with (
        Session(firehoses[name].address, WAYS[0].port, ANONYMOUS, [], WAYS[0], 60) as client,
        pytest.raises(ConnectionError, match="a disconnection"),
    ):
        client.publish("ci/1/public", "x", mode.qos)


def test_haproxy_logs_the_address_of_a_client(firehoses: Firehoses, name: str) -> None:
    """The brokers do not know the addresses."""
    firehose, client_id = firehoses[name], str(uuid.uuid4())

    def logged(pattern: str) -> list[str]:
        journal = firehose.host.run(
            "journalctl --namespace firehose --unit %s --output cat --no-pager --grep %s", HAPROXY, pattern
        )
        return journal.stdout.splitlines()

    with PahoSubscriber(firehose.address, WAYS[0], client_id=client_id):
        pass
    wait_until(lambda: logged(client_id) != [], "the end of the connection is logged")
    [end] = logged(client_id)
    address, _space, rest = end.partition(" ")
    assert rest.startswith("left port 1883 ")
    # HAProxy of Debian 12 logs only the end.
    beginning = [] if "debian12" in firehose.name else [f"{address} connected to port 1883"]
    assert logged(f"^{address} connected to port 1883$") == beginning


def test_a_restart_of_the_accounts_broker_affects_no_subscriber(firehoses: Firehoses, name: str) -> None:
    firehose, sender = firehoses[name], firehoses[name].publishers["ci-3"]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(PahoSubscriber(firehose.address, way, ["ci/3/#"])) for way in WAYS]
        publish_numbers(firehose.address, sender, ACCOUNT_WAYS[0], "ci/3/number", range(100))
        firehose.host.check_output("systemctl restart mosquitto")
        publish_numbers(firehose.address, sender, ACCOUNT_WAYS[0], "ci/3/number", range(100, 200))
        for reader in readers:
            reader.wait_for(payload=number(199))
            got = [message.payload for message in reader.messages]
            # The bridge's connection broke, so a message may arrive twice.
            assert list(dict.fromkeys(got)) == [number(each) for each in range(200)]
            assert reader.ended is None


@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS], ids=str)
def test_accounts_are_rejected_at_the_public_listeners(firehoses: Firehoses, name: str, way: Way) -> None:
    """The correct password is rejected too, so a password that is captured there is useless."""
    firehose = firehoses[name]
    with (
        pytest.raises(ConnectionError, match="a refusal"),
        PahoSubscriber(firehose.address, way, account=firehose.publishers["ci-1"]),
    ):
        pass


@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_anonymous_clients_are_rejected_at_the_account_listeners(firehoses: Firehoses, name: str, way: Way) -> None:
    with pytest.raises(ConnectionError, match="a refusal"), PahoSubscriber(firehoses[name].address, way):
        pass
