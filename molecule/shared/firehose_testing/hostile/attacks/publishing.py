# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unauthorized publishing. The observers show that it failed: an acknowledgement proves nothing."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from .. import packets
from ..attack import attack
from ..field import Field
from ..packets import V5, VERSIONS, Will
from ..target import Listener

# The publisher's topic, a topic of no publisher, and a topic with the name that others subscribe to.
TOPICS = ("gerrit/openstack/nova/comment-added", "gerrit/hostile", "hostile/topic")
DOLLAR_TOPICS = (
    "$SYS/hostile",
    "$SYS/broker/version",
    "$SYS/broker/connection/hostile/state",
    "$CONTROL/dynamic-security/v1",
    "$CONTROL/broker/v1",
    "$hostile/topic",
    "$",
)
SHARED_TOPICS = ("$share/group/gerrit/hostile", "$share/group/#", "$share//gerrit", "$queue/gerrit/hostile")


@dataclasses.dataclass(frozen=True)
class Try:
    """The data that is sent after the connection is made. A CONNECT and the packets after it are sent together, before any answer."""

    listener: Listener
    data: bytes
    vanish: bool = False


def payload(field: Field) -> bytes:
    """A payload that no other client sends."""
    return f"hostile {field.random.getrandbits(64):x}".encode()


async def attempt(field: Field, one: Try) -> None:
    """Make the attempt, and wait until the broker has processed it."""
    connection = await field.insist(one.listener)
    try:
        await connection.send(one.data + (b"" if one.vanish else packets.PINGREQ))
        field.tried += 1
        await connection.until(packets.CONNACK if one.vanish else 13, timeout=3)
        field.notes["answered"] += 1
    finally:
        connection.vanish()


async def attempt_all(field: Field, tries: t.Sequence[Try]) -> None:
    mixed = list(tries)
    field.random.shuffle(mixed)
    await field.each(mixed, lambda one: attempt(field, one))


def ways(field: Field) -> t.Iterator[tuple[Listener, int]]:
    return itertools.product(field.target.doors, VERSIONS)


def message(
    field: Field, version: int, topic: packets.Text, qos: int = 0, retain: bool = False, properties: bytes = b""
) -> bytes:
    """A PUBLISH, at QoS 2 followed by PUBREL."""
    data = packets.publish(version, topic, payload(field), qos, retain, 7, properties)
    return data + (packets.acknowledge(packets.PUBREL, 7) if qos == 2 else b"")


@attack("publish", forbidden=True, seconds=2, sources=16)
async def publish(field: Field) -> None:
    """Each QoS, retained or not."""
    modes = list(itertools.product(TOPICS, (0, 1, 2), (False, True)))
    await attempt_all(
        field,
        [
            Try(listener, packets.connect(version) + message(field, version, *mode))
            for (listener, version), mode in itertools.product(ways(field), modes)
        ],
    )


@attack("publish by will", forbidden=True, seconds=2, sources=16)
async def publish_by_will(field: Field) -> None:
    """A will of each QoS, retained or not, at once or delayed, of clients that vanish or disconnect with a will."""
    modes = itertools.product((*TOPICS[:2], *DOLLAR_TOPICS[:1], *DOLLAR_TOPICS[3:6]), (0, 1, 2), (False, True))
    tries = []
    for (listener, version), (topic, qos, retain) in itertools.product(ways(field), modes):
        will = Will(topic, payload(field), qos, retain)
        tries.append(Try(listener, packets.connect(version, will=will), vanish=True))
        if version == V5 and qos == 0:
            will = Will(topic, payload(field), qos, retain)
            tries.append(Try(listener, packets.connect(version, will=will) + packets.DISCONNECT_WITH_WILL))
            will = Will(topic, payload(field), qos, retain, delay=1)
            tries.append(Try(listener, packets.connect(version, will=will, expiry=60), vanish=True))
    await attempt_all(field, tries)


@attack("publish on $ and shared topics", forbidden=True, seconds=2, sources=16)
async def publish_on_dollar(field: Field) -> None:
    """Topics that belong to the broker, and names of shared subscriptions."""
    topics = (*DOLLAR_TOPICS, *SHARED_TOPICS)
    await attempt_all(
        field,
        [
            Try(listener, packets.connect(version) + message(field, version, topic, qos))
            for (listener, version), topic, qos in itertools.product(ways(field), topics, (0, 1))
        ],
    )


def aliased(field: Field, alias: int, topic: str, then: t.Sequence[str]) -> bytes:
    """Set a topic alias, and send more messages with it."""
    named = packets.number_property(packets.TOPIC_ALIAS, alias)
    return b"".join(message(field, V5, each, 0, False, named) for each in (topic, *then))


@attack("publish by alias", forbidden=True, seconds=2, sources=16)
async def publish_by_alias(field: Field) -> None:
    """Topic aliases that are set in denied messages, never set, out of range, or set again."""
    sets = [
        (1, TOPICS[1], [""]),
        (1, TOPICS[1], ["", TOPICS[0], ""]),
        (1, "", []),
        (0, TOPICS[1], [""]),
        (10, TOPICS[1], ["", ""]),
        (11, TOPICS[1], [""]),
        (65535, TOPICS[1], [""]),
        (1, "$SYS/hostile", [""]),
        (1, "$CONTROL/dynamic-security/v1", [""]),
    ]
    tries = [
        Try(listener, packets.connect(V5) + aliased(field, *one))
        for listener, one in itertools.product(field.target.doors, sets)
    ]
    await attempt_all(field, tries)


@attack("publish out of order", forbidden=True, seconds=2, sources=16)
async def publish_out_of_order(field: Field) -> None:
    """Before CONNECT, after a second one, after DISCONNECT, with invalid flags, on invalid topics."""
    tries = []
    for listener, version in ways(field):
        hello, topic = packets.connect(version), TOPICS[1]
        ordinary = message(field, version, topic)
        reserved = bytes([ordinary[0] | 6]) + ordinary[1:]
        duplicate = bytes([message(field, version, topic, 1)[0] | 8]) + message(field, version, topic, 1)[1:]
        tries += [
            Try(listener, data)
            for data in (
                ordinary + hello,
                hello + hello + ordinary,
                hello + packets.DISCONNECT + ordinary,
                hello + reserved,
                hello + duplicate,
                hello + packets.acknowledge(packets.PUBREL, 7) + ordinary,
                hello + message(field, version, ""),
                hello + message(field, version, "gerrit/+"),
                hello + message(field, version, "gerrit/#"),
                hello + message(field, version, "gerrit/\0hostile"),
                hello + message(field, version, b"gerrit/\xff\xfe"),
                hello + message(field, version, "gerrit/" + "/" * 300),
                packets.connect(9 - version) + ordinary,  # in the form of the other version
            )
        ]
    await attempt_all(field, tries)
