# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the public gets: events as they come, and nothing that somebody would have to hold for it."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, ANONYMOUS, QOS1, TLS_WAYS, WAYS, PahoSubscriber, Way, publish
from firehose_testing.durable import DurableReader, number, publish_numbers
from firehose_testing.fixtures import Firehose, Firehoses


def event(firehose: Firehose) -> str:
    """Publish one, and return its payload."""
    payload = str(uuid.uuid4())
    publish(firehose.address, firehose.publishers["ci-1"], ACCOUNT_WAYS[0], QOS1, {"ci/1/public": payload})
    return payload


@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS], ids=str)
def test_events_come_with_qos_0_whatever_a_client_asks_for(firehoses: Firehoses, name: str, way: Way) -> None:
    with PahoSubscriber(firehoses[name].address, way) as subscriber:
        payload = event(firehoses[name])
        subscriber.wait_for(payload=payload)
        assert [message.qos for message in subscriber.messages if message.payload == payload] == [0]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_is_held_for_a_session_that_is_left_behind(firehoses: Firehoses, name: str, way: Way) -> None:
    firehose = firehoses[name]
    reader = DurableReader(firehose.address, ANONYMOUS, way)
    with reader.connected():
        before = event(firehose)
        reader.wait_for(1)
    with PahoSubscriber(firehose.address, way, ["ci/#"]) as witness:
        witness.wait_for(payload=event(firehose))
    with reader.connected():
        after = event(firehose)
        reader.wait_for(2)
    assert reader.payloads == [before, after]


def test_readers_stay_and_miss_nothing_while_the_other_broker_restarts(firehoses: Firehoses, name: str) -> None:
    firehose, sender = firehoses[name], firehoses[name].publishers["ci-3"]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(PahoSubscriber(firehose.address, way, ["ci/3/#"])) for way in WAYS]
        publish_numbers(firehose.address, sender, ACCOUNT_WAYS[0], "ci/3/number", range(100))
        firehose.host.check_output("systemctl restart mosquitto")
        publish_numbers(firehose.address, sender, ACCOUNT_WAYS[0], "ci/3/number", range(100, 200))
        for reader in readers:
            reader.wait_for(payload=number(199))
            got = [message.payload for message in reader.messages]
            # The bridge's connection broke, so that a message may come again.
            assert list(dict.fromkeys(got)) == [number(each) for each in range(200)]
            assert reader.ended is None


@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS], ids=str)
def test_accounts_are_none_at_the_listeners_of_the_public(firehoses: Firehoses, name: str, way: Way) -> None:
    """Not even with the right password: nothing that is learnt there opens anything."""
    firehose = firehoses[name]
    with (
        pytest.raises(ConnectionError, match="a refusal"),
        PahoSubscriber(firehose.address, way, account=firehose.publishers["ci-1"]),
    ):
        pass


@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_the_public_is_turned_away_from_the_listeners_of_accounts(firehoses: Firehoses, name: str, way: Way) -> None:
    with pytest.raises(ConnectionError, match="a refusal"), PahoSubscriber(firehoses[name].address, way):
        pass
