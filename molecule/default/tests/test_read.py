# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client can read only the $SYS topics that it was granted."""

from __future__ import annotations

import contextlib

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, ANONYMOUS, QOS1, WAYS, Account, PahoSubscriber, Way, publish
from firehose_testing.fixtures import Firehose, Firehoses

LEAF = "$SYS/broker/clients/connected"
PUBLIC_LEAF = "$SYS/broker/uptime"

Got = dict[tuple[str, str, Way], set[str]]


@pytest.fixture(scope="module")
def sys_topics(firehoses: Firehoses) -> Got:
    """The $SYS topics that were received, by host, kind of client and way.

    The broker publishes changed values every ten seconds. The clients that connect here change the topic.
    """
    with contextlib.ExitStack() as stack:
        opened = {
            (name, kind, way): stack.enter_context(
                PahoSubscriber(firehose.address, way, ["$SYS/#", "ci/1/#"], firehose.readers.get(kind, ANONYMOUS))
            )
            for name, firehose in firehoses.items()
            for kind, ways in (("statistics", ACCOUNT_WAYS), ("public", WAYS))
            for way in ways
        }
        for (_name, kind, _way), subscriber in opened.items():
            subscriber.wait_for(topic=LEAF if kind == "statistics" else PUBLIC_LEAF, timeout=30)
        for firehose in firehoses.values():
            publish(firehose.address, firehose.publishers["ci-1"], ACCOUNT_WAYS[0], QOS1, {"ci/1/fence": "fence"})
        for subscriber in opened.values():
            subscriber.wait_for(payload="fence")
        return {
            key: {message.topic for message in subscriber.messages if message.topic.startswith("$SYS/")}
            for key, subscriber in opened.items()
        }


@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_a_reader_gets_only_its_sys_topic(sys_topics: Got, name: str, way: Way) -> None:
    assert sys_topics[name, "statistics", way] == {LEAF}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_anonymous_clients_get_only_the_public_sys_topic(sys_topics: Got, name: str, way: Way) -> None:
    assert sys_topics[name, "public", way] == {PUBLIC_LEAF}


@pytest.mark.parametrize("password", [None, "", "wrong"])
@pytest.mark.parametrize("way", [*WAYS, *ACCOUNT_WAYS], ids=str)
def test_a_reader_without_the_correct_password_is_rejected(
    firehoses: Firehoses, way: Way, password: str | None
) -> None:
    def refused(firehose: Firehose) -> bool:
        with (
            pytest.raises(ConnectionError, match="a refusal"),
            PahoSubscriber(firehose.address, way, account=Account("statistics", password)),
        ):
            pass
        return True

    firehoses.each(refused)
