# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of the cluster fails, and comes back."""

from __future__ import annotations

import concurrent.futures
import contextlib
import subprocess

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, Account
from firehose_testing.cluster import at_each_node, bridged_to
from firehose_testing.durable import number, publish_numbers
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.waiting import wait_until

TOPIC = "ci/number"
MANY = 5000
# The bridge detects a hanging node within 1.5 times its keepalive, and connects to the other node. RabbitMQ nodes drop
# a node that hangs for 60 s.
FAIL_OVER = 45


def docker(command: str, node: Firehose) -> None:
    subprocess.run(["docker", command, node.name], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(("lose", "bring_back"), [("kill", "start"), ("pause", "unpause")], ids=["killed", "hangs"])
def test_subscribers_of_the_other_node_lose_no_event(
    core: Firehose, nodes: Firehoses, ci: Account, lose: str, bring_back: str
) -> None:
    lost, other = nodes.values()
    # The bridge returns to its first address when possible.
    wait_until(lambda: bridged_to(core, nodes) == lost.name, "the bridge is connected to the first node", 60)

    def send(begin: int, end: int) -> None:
        publish_numbers(core.address, ci, ACCOUNT_WAYS[0], TOPIC, range(begin, end))

    with contextlib.ExitStack() as stack:
        subscribers = at_each_node(stack, {other.name: other}, [TOPIC])
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor())

        def wait_for(count: int, timeout: float) -> None:
            for subscriber in subscribers.values():
                subscriber.wait_for(payload=number(count), timeout=timeout)

        sending = pool.submit(send, 0, MANY)
        wait_for(MANY // 10, 30)
        docker(lose, lost)
        try:
            sending.result()
            send(MANY, MANY + 10)
            wait_for(MANY + 9, FAIL_OVER)
            assert bridged_to(core, nodes) == other.name
        finally:
            docker(bring_back, lost)
        assert lost.host.check_output("hostname -i") == lost.address
        wait_until(lambda: bridged_to(core, nodes) == lost.name, "the bridge is back at the first node", 120)
        back = at_each_node(stack, {lost.name: lost}, [TOPIC])
        send(MANY + 10, MANY + 20)
        wait_for(MANY + 19, FAIL_OVER)
        for name, subscriber in back.items():
            subscriber.wait_for(payload=number(MANY + 19))
            assert [m.payload for m in subscriber.messages] == [number(n) for n in range(MANY + 10, MANY + 20)], name
        for name, subscriber in subscribers.items():
            # An event may arrive twice after the bridge's connection broke.
            came = [*dict.fromkeys(m.payload for m in subscriber.messages)]
            assert came == [number(n) for n in range(MANY + 20)], name
            assert subscriber.ended is None, name
