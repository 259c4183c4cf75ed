# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claimed usernames: of publishers without their passwords, and of accounts that do not exist."""

from __future__ import annotations

import itertools

from .. import packets
from ..attack import attack
from ..field import Field
from ..packets import Will
from .publishing import TOPICS, Try, attempt_all, message, payload, ways

# No password, an empty one, wrong ones, and a truncated one.
PASSWORDS = (None, b"", b"wrong", b"only-for-tests\0", b"x" * 60000)
ODD_NAMES = (
    b"",
    b"+",
    b"#",
    b"$SYS",
    b"%u",
    b"%c",
    b"germqtt ",
    b"GERMQTT",
    b"germqtt\0",
    b"germqtt:x",
    b"germqtt\n",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"../germqtt",
    b"n" * 65535,
)


@attack("publish as a publisher", forbidden=True, seconds=2, sources=16)
async def publish_as_a_publisher(field: Field) -> None:
    """With a publisher's username, but not its password."""
    tries = []
    for (listener, version), name, password in itertools.product(ways(field), field.target.names, PASSWORDS):
        for topic, qos in itertools.product((TOPICS[1], f"{name}/hostile"), (0, 1)):
            hello = packets.connect(version, username=name, password=password)
            tries.append(Try(listener, hello + message(field, version, topic, qos)))
        hello = packets.connect(version, username=name, password=password, will=Will(TOPICS[1], payload(field)))
        tries.append(Try(listener, hello, vanish=True))
    await attempt_all(field, tries)


@attack("publish with odd names", forbidden=True, seconds=2, sources=16)
async def publish_with_odd_names(field: Field) -> None:
    """Invalid usernames and client ids, or ones similar to a publisher's; a password without a username."""
    tries = []
    for (listener, version), name in itertools.product(ways(field), ODD_NAMES):
        for password in (None, b"", field.target.publisher.password.encode() if name != b"germqtt " else b"wrong"):
            hello = packets.connect(version, username=name, password=password)
            tries.append(Try(listener, hello + message(field, version, TOPICS[1])))
        tries.append(Try(listener, packets.connect(version, name) + message(field, version, TOPICS[1])))
    for listener, version in ways(field):
        hello = packets.connect(version, password=field.target.publisher.password)
        tries.append(Try(listener, hello + message(field, version, TOPICS[1])))
    await attempt_all(field, tries)
