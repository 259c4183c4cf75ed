# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the broker says about itself, below $SYS, is for the readers that were given a leaf of it."""

from __future__ import annotations

import pytest
from firehose_testing.clients import ANONYMOUS, QOS1, WAYS, Account, PahoSubscriber, Way, publish
from firehose_testing.fixtures import Firehose, Firehoses


def sys_topics(firehose: Firehose, account: Account, way: Way) -> set[str]:
    """The broker's own topics that an account gets. They are retained, so they come with the subscription."""
    fence = firehose.publishers["ci-1"]
    with PahoSubscriber(firehose.address, way, ["$SYS/#", "ci/1/#"], account) as subscriber:
        publish(firehose.address, fence, way, QOS1, {"ci/1/fence": "fence"})
        subscriber.wait_for("fence")
        return {message.topic for message in subscriber.messages if message.topic.startswith("$SYS/")}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_reader_gets_its_leaf_and_no_other(firehoses: Firehoses, way: Way) -> None:
    topics = firehoses.each(lambda firehose: sys_topics(firehose, firehose.readers["statistics"], way))
    assert topics == {name: {"$SYS/broker/clients/connected"} for name in firehoses}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_public_gets_none(firehoses: Firehoses, way: Way) -> None:
    topics = firehoses.each(lambda firehose: sys_topics(firehose, ANONYMOUS, way))
    assert topics == {name: set() for name in firehoses}


@pytest.mark.parametrize("password", [None, "", "wrong"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_readers_name_alone_opens_nothing(firehoses: Firehoses, way: Way, password: str | None) -> None:
    def refused(firehose: Firehose) -> bool:
        with (
            pytest.raises(ConnectionError, match="a refusal"),
            PahoSubscriber(firehose.address, way, account=Account("statistics", password)),
        ):
            pass
        return True

    firehoses.each(refused)
