# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader with an account and a persistent session receives all messages that were published while it was away."""

from __future__ import annotations

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, QOS1, Way, publish
from firehose_testing.durable import DurableReader, publish_numbers
from firehose_testing.fixtures import Firehose, Firehoses, evaluated
from firehose_testing.public import PUBLIC_BROKERS
from firehose_testing.waiting import wait_until

# Ten minutes of 50 events a second
EVENTS = 10 * 60 * 50
TCP = ACCOUNT_WAYS[0]


@pytest.mark.parametrize("units", ["mosquitto.service", PUBLIC_BROKERS])
def test_a_reader_that_is_away_for_ten_minutes_loses_no_event(firehoses: Firehoses, units: str) -> None:
    """The brokers restart in the meantime."""

    def check(firehose: Firehose) -> None:
        reader = DurableReader(firehose.address, firehose.readers["statistics"], TCP)
        with reader.connected():
            pass
        sender = firehose.publishers["ci-2"]
        publish_numbers(firehose.address, sender, TCP, "ci/2/durable", range(EVENTS // 2))
        firehose.host.check_output("systemctl restart %s", units)
        publish_numbers(firehose.address, sender, TCP, "ci/2/durable", range(EVENTS // 2, EVENTS))
        with reader.connected():
            reader.wait_for(EVENTS)
        assert [int(payload.split()[0]) for payload in reader.payloads] == list(range(EVENTS))

    firehoses.each(check)


@pytest.mark.parametrize("way", [TCP, ACCOUNT_WAYS[-1]], ids=str)
def test_qos_0_messages_are_queued(firehoses: Firehoses, name: str, way: Way) -> None:
    firehose = firehoses[name]
    reader = DurableReader(firehose.address, firehose.readers["statistics"], way)
    with reader.connected():
        pass
    publish_numbers(firehose.address, firehose.publishers["ci-2"], TCP, "ci/2/durable", range(100), qos=0)
    with reader.connected():
        reader.wait_for(100)
    assert [int(payload.split()[0]) for payload in reader.payloads] == list(range(100))


def test_the_queue_is_limited_in_bytes(firehoses: Firehoses) -> None:
    """The first messages are kept. The public brokers, which are connected, get all of them."""
    [name, *_others] = firehoses
    firehose, size, count = firehoses[name], 256 * 1024 - 100, 450
    [limit] = evaluated(name, "firehose_account_max_queued_bytes")[name].values()
    reader = DurableReader(firehose.address, firehose.readers["statistics"], TCP)
    with reader.connected():
        pass
    large = {f"ci/2/durable/{number}": f"{number} ".ljust(size, "x") for number in range(count)}
    publish(firehose.address, firehose.publishers["ci-2"], TCP, QOS1, large)
    fits = limit // size
    with reader.connected():
        reader.wait_for(fits - 1)
        publish(firehose.address, firehose.publishers["ci-2"], TCP, QOS1, {"ci/2/durable": "end"})
        wait_until(lambda: reader.payloads[-1] == "end", "all that was kept has come")
    assert [int(payload.split()[0]) for payload in reader.payloads[:-1]] == list(range(len(reader.payloads) - 1))
    # Messages in flight are not counted.
    assert fits - 1 <= len(reader.payloads) - 1 <= fits + 25 < count
