# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crashes of the accounts broker: all events that germqtt has published arrive at every edge host."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import random
import threading
import time
import typing as t
import uuid

from firehose_testing.accounting import Received, make_account
from firehose_testing.clients import PahoSubscriber, Way
from firehose_testing.edges import cut_off
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.germqtt import Germqtt
from firehose_testing.gerrit import Gerrit
from firehose_testing.public import at_each_broker, public_units
from firehose_testing.undoing import undone
from firehose_testing.waiting import wait_until

TCP = Way("tcp", "3.1.1")
SEED = 20161026
# The number of crashes, and how many events arrive again after each at most: germqtt_republish_max.
CRASHES, MOST_AGAIN = 10 if os.environ.get("EDGE") == "long" else 3, 1000
# Seconds until Mosquitto 2.0 has saved a new session
SAVED = 2.5


def another_session(edge: Firehose) -> t.ContextManager[None]:
    """Make the public brokers of an edge host connect with new client ids: the core host stores nothing for them yet."""
    files, units = "/etc/mosquitto-*/live/mosquitto.conf", " ".join(public_units(edge.host))
    return undone(
        edge.host,
        f"sed -i 's/^remote_clientid .*/&-new/' {files} && systemctl restart {units}",
        f"sed -i '/^remote_clientid /s/-new$//' {files} && systemctl restart {units}",
    )


@contextlib.contextmanager
def numbered(edges: Firehoses, gerrit: Gerrit) -> t.Iterator[list[PahoSubscriber]]:
    """Make Gerrit stream numbered events. At the end, each public broker of each edge host must have received all of them in order.

    Yields subscribers at all of these brokers.
    """
    run, total, over = str(uuid.uuid4()), 0, threading.Event()

    def feed() -> None:
        nonlocal total
        while not over.wait(0.1):
            numbers = range(total, total + 10)
            events = [{"type": "comment-added", "project": "numbered", "number": one, "run": run} for one in numbers]
            gerrit.feed(map(json.dumps, events))
            total += len(numbers)

    def came(subscriber: PahoSubscriber) -> list[int]:
        events = [json.loads(message.payload) for message in subscriber.messages if run in message.payload]
        return [event["number"] for event in events]

    with contextlib.ExitStack() as stack:
        subscribers = {
            (name, place): subscriber
            for name, edge in edges.items()
            for place, subscriber in enumerate(at_each_broker(stack, edge, TCP, ["gerrit/#"]))
        }
        gerrit.wait_until_heard([*subscribers.values()])
        time.sleep(SAVED)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            feeding = pool.submit(feed)
            try:
                yield [*subscribers.values()]
            finally:
                over.set()
            feeding.result()
        wait_until(
            lambda: all(total - 1 in came(one) for one in subscribers.values()), "the last event is everywhere", 120
        )
        for place, subscriber in subscribers.items():
            received = [Received(0, "", number) for number in came(subscriber)]
            account = make_account([0] * total, received, [], total, total)
            assert (account.received, account.disordered) == (total, []), place
            assert account.reach <= MOST_AGAIN, place


def test_edge_hosts_lose_no_event_when_the_accounts_broker_crashes(
    core: Firehose, edges: Firehoses, gerrit: Gerrit
) -> None:
    """The edge hosts are connected, disconnected and new."""
    away, new, _connected = edges.values()
    moments, bench = random.Random(SEED), Germqtt(core)
    with another_session(new), numbered(edges, gerrit), cut_off(away, f"ip saddr {core.address}"):
        for _time in range(CRASHES):
            time.sleep(moments.uniform(0.5, 3))
            bench.crash("mosquitto")


def test_an_edge_host_subscribes_again_after_its_session_was_lost(
    core: Firehose, edges: Firehoses, gerrit: Gerrit
) -> None:
    """This takes at most ten seconds, before germqtt publishes. The core host's log names the edge host, and its clients get a gap message."""
    bench = Germqtt(core)

    def is_told(subscriber: PahoSubscriber) -> bool:
        gaps = [message.payload for message in subscriber.messages if message.topic == "gerrit/germqtt/gap"]
        return any("the broker has lost its store" in gap for gap in gaps)

    with numbered(edges, gerrit) as subscribers:
        time.sleep(1)
        bench.lose_store()
        wait_until(lambda: all(map(is_told, subscribers)), "the gap is everywhere")
    started = core.host.check_output('date +%s --date "$(systemctl show -P ActiveEnterTimestamp mosquitto)"')
    log = core.host.check_output(
        f"journalctl --namespace=firehose --unit firehose-accounts --since @{started} --output short-unix --grep 'has a new session'"
    )
    for edge in edges.values():
        said = [
            float(line.split()[0])
            for line in log.splitlines()
            if f"{edge.address} has" in line and "firehose-edge" in line
        ]
        assert len(said) >= len(public_units(edge.host)), log
        assert max(said) <= int(started) + 11  # the fraction of a second is not shown
    assert "the broker has lost its store" in bench.journal()
