# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only the bridge can publish at the cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import typing as t
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, ANONYMOUS, MODES, QOS1, Account, Mode, PahoSubscriber, publish
from firehose_testing.cluster import ALL_WAYS, BRIDGE_PORT, WAYS, at_each_node
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import open_ports

TOPICS = ["gerrit/x", "ci/a.b", "$SYS/broker/x"]
CLAIMS = {
    "anonymous": ANONYMOUS,
    "the bridge without a password": Account("firehose"),
    "the bridge with an empty password": Account("firehose", ""),
    "the bridge with a wrong password": Account("firehose", "wrong"),
    "RabbitMQ's first account": Account("guest", "guest"),
}


@pytest.fixture(scope="module")
def watchers(nodes: Firehoses) -> t.Iterator[dict[str, PahoSubscriber]]:
    with contextlib.ExitStack() as stack:
        yield at_each_node(stack, nodes, ["#", "$SYS/#"])


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_messages_of_unauthorized_clients_reach_no_subscriber(
    core: Firehose, nodes: Firehoses, ci: Account, watchers: dict[str, PahoSubscriber], mode: Mode, claim: str
) -> None:
    """Tried at each node, over each transport and version at once. Messages of the bridge still arrive afterwards."""
    topics = TOPICS[:1] if mode.will else TOPICS
    payload = str(uuid.uuid4())

    def attempt(place: tuple[Firehose, t.Any]) -> None:
        node, way = place
        publish(node.address, CLAIMS[claim], way, mode, dict.fromkeys(topics, payload))

    def fence(further: t.Iterable[PahoSubscriber] = ()) -> None:
        for _round in range(2):  # a will may arrive after the first fence message
            text = str(uuid.uuid4())
            publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, {"fence": text})
            for watcher in (*watchers.values(), *further):
                watcher.wait_for(payload=text)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(attempt, itertools.product(nodes.values(), ALL_WAYS)))
    with contextlib.ExitStack() as stack:
        # RabbitMQ sends retained messages to filters without wildcards only.
        late = [
            stack.enter_context(PahoSubscriber(node.address, WAYS[0], [*topics, "fence"])) for node in nodes.values()
        ]
        fence(late)
        heard = [m for watcher in (*watchers.values(), *late) for m in watcher.messages if m.payload == payload]
    assert heard == []
    assert {watcher.ended for watcher in watchers.values()} == {None}


def test_no_other_port_is_open(nodes: Firehoses) -> None:
    """Two ports are for the nodes. A firewall must close them for other hosts."""
    among_nodes = {4369, 25672}
    served = {way.port for way in WAYS} | {BRIDGE_PORT}
    assert nodes.each(lambda node: {*open_ports(node.host)}) == dict.fromkeys(nodes, served | among_nodes)
