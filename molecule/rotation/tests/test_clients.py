# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects of the rotation on connected clients."""

from __future__ import annotations

import uuid

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, QOS1, Way, publish
from firehose_testing.fixtures import Firehoses
from firehose_testing.rotation import ACCOUNT_TCP, AFTER, BEFORE, FENCE, Story

# Accounts whose clients Mosquitto disconnects at a reload: their credentials are not valid any more.
DISCONNECTED = {"germqtt", "zuul", "lpmqtt"}


def test_clients_of_unchanged_accounts_stay_connected(story: Story, name: str) -> None:
    stayed = [
        *story.public[name],
        *(session for (account, _way), session in story.connected[name].items() if account not in DISCONNECTED),
    ]
    assert {str(client): client.ended for client in stayed if client.ended} == {}


def test_anonymous_clients_lose_no_message(story: Story, name: str) -> None:
    for counter in story.counters[name]:
        published = counter.published()
        for subscriber in story.public[name]:
            subscriber.wait_for(topic=counter.topic, payload=published[-1])
            # A repeated, missing or late message makes the lists differ.
            assert [m.payload for m in subscriber.messages if m.topic == counter.topic] == published, subscriber


def test_a_publisher_can_publish_during_the_run(story: Story, name: str) -> None:
    for counter in story.counters[name]:
        assert counter.ended is None
        begin, end, _repeated = counter.marks
        assert end - begin > 20, counter.sender


@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_clients_with_outdated_credentials_are_disconnected(story: Story, way: Way) -> None:
    def is_connected(name: str, account: str) -> bool:
        try:
            story.connected[name][account, way].publish("nothing/of/its/own", "")
        except ConnectionError as exc:
            if "a disconnection" not in str(exc):
                raise
            return False
        return True

    for name in story.connected:
        assert {account for account in BEFORE if not is_connected(name, account)} == DISCONNECTED


@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_the_new_rules_apply_to_connected_clients(story: Story, firehoses: Firehoses, way: Way) -> None:
    for name, connected in story.connected.items():
        payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
        for topic in ("ansible/a", "tasks/a", "logs/a/done"):
            connected["ansible", way].publish(topic, payload)
        publish(firehoses[name].address, AFTER[FENCE], ACCOUNT_TCP, QOS1, {"ci/fence": fence})
        for subscriber in story.public[name]:
            subscriber.wait_for(payload=fence)
            assert {m.topic for m in subscriber.messages if m.payload == payload} == {"tasks/a", "logs/a/done"}
