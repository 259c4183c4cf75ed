# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that subscribers receive from a RabbitMQ cluster, as described in docs/cluster.md."""

from __future__ import annotations

import contextlib
import json
import uuid

from firehose_testing.clients import ACCOUNT_WAYS, QOS1, RETAINED, Account, PahoSubscriber, publish
from firehose_testing.cluster import WAYS, at_each_node, bridged_to
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.waiting import wait_until

# The topic at which subscribers receive a message, by the topic on which it was published.
TOPICS = {
    "gerrit/openstack-infra/germqtt/comment-added": "gerrit/openstack-infra/germqtt/comment-added",
    "gerrit/openstack/oslo.config/comment-added": "gerrit/openstack/oslo/config/comment-added",
    "gerrit//project-created": "gerrit//project-created",
    "wiki/a page/Größe/漢字": "wiki/a page/Größe/漢字",
    "wiki/a*b": "wiki/a+b",
    f"wiki/{'long' * 100}": f"wiki/{'long' * 100}",
}


def test_events_arrive_at_each_node_in_order(core: Firehose, nodes: Firehoses, ci: Account) -> None:
    payloads = [json.dumps({"id": str(uuid.uuid4()), "subject": text}) for text in ("Größe, 漢字 \0", "x" * 200_000)]
    payloads += [f"{uuid.uuid4()} Größe, 漢字 \0\r\n"]
    sent = [dict.fromkeys(TOPICS, payload) for payload in payloads]
    with contextlib.ExitStack() as stack:
        subscribers = at_each_node(stack, nodes)
        for messages in sent:
            publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, messages)
        publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, {"fence": "fence"})
        wanted = [(TOPICS[topic], payload) for messages in sent for topic, payload in messages.items()]
        for name, subscriber in subscribers.items():
            subscriber.wait_for(payload="fence")
            assert [(m.topic, m.payload) for m in subscriber.messages] == [*wanted, ("fence", "fence")], name


def test_a_dot_acts_as_a_slash_in_filters(core: Firehose, nodes: Firehoses, ci: Account) -> None:
    """A filter with the name of the project works. A filter that counts levels does not."""
    [topic, *_others] = [topic for topic in TOPICS if "." in topic]
    filters = {"gerrit/openstack/oslo.config/#": 1, "gerrit/openstack/oslo/config/+": 1, "gerrit/+/+/comment-added": 0}
    payload = str(uuid.uuid4())
    for node in nodes.values():
        with contextlib.ExitStack() as stack:
            subscribers = {
                own: stack.enter_context(PahoSubscriber(node.address, WAYS[0], [own, "fence"])) for own in filters
            }
            publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, {topic: payload, "fence": "fence"})
            for subscriber in subscribers.values():
                subscriber.wait_for(topic="fence")
            came = {own: sum(m.payload == payload for m in each.messages) for own, each in subscribers.items()}
            assert came == filters


def test_a_retained_message_is_stored_at_one_node_only(core: Firehose, nodes: Firehoses, ci: Account) -> None:
    """The node that the bridge is connected to sends it, to filters without wildcards only."""
    topic = f"ci/{uuid.uuid4()}"

    def retained(filters: str) -> dict[str, list[bool]]:
        with contextlib.ExitStack() as stack:
            subscribers = {
                name: stack.enter_context(PahoSubscriber(node.address, WAYS[0], [filters, "fence"]))
                for name, node in nodes.items()
            }
            publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, {"fence": "fence"})
            for subscriber in subscribers.values():
                subscriber.wait_for(topic="fence")
            return {name: [m.retain for m in each.messages if m.topic == topic] for name, each in subscribers.items()}

    with contextlib.ExitStack() as stack:
        present = at_each_node(stack, nodes, [topic])
        publish(core.address, ci, ACCOUNT_WAYS[0], RETAINED, {topic: "kept"})
        for subscriber in present.values():
            subscriber.wait_for(payload="kept")
    bridged = bridged_to(core, nodes)
    assert retained(topic) == {name: [True] if name == bridged else [] for name in nodes}
    assert retained("ci/+") == {name: [] for name in nodes}
    publish(core.address, ci, ACCOUNT_WAYS[0], RETAINED, {topic: ""})
    assert retained(topic) == {name: [] for name in nodes}


def test_sys_topics_are_not_bridged(core: Firehose, nodes: Firehoses, ci: Account) -> None:
    """RabbitMQ would send it to a subscriber to `#` too."""
    with contextlib.ExitStack() as stack:
        subscribers = at_each_node(stack, nodes, ["#", "$SYS/#"])
        reader = PahoSubscriber(core.address, ACCOUNT_WAYS[0], ["$SYS/broker/uptime"], core.readers["monitor"])
        stack.enter_context(reader)
        # The first message arrives at once, since it is retained.
        wait_until(lambda: len(reader.messages) >= 3, "$SYS was published twice", 60)
        publish(core.address, ci, ACCOUNT_WAYS[0], QOS1, {"fence": "fence"})
        for subscriber in subscribers.values():
            subscriber.wait_for(topic="fence")
            assert {m.topic for m in subscriber.messages} == {"fence"}
