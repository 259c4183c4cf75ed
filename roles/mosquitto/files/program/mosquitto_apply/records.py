# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records that both of Mosquitto's storage formats contain, and the errors of a file."""

from __future__ import annotations

import typing as t


class Damaged(Exception):
    """A file that is not in Mosquitto's format. No version can read it."""


class UnknownVersion(Exception):
    """A file of a format version that this program cannot read. Another Mosquitto may read it."""


class Message(t.NamedTuple):
    """A message that is retained, or queued for clients."""

    store_id: int
    # Seconds since 1970, 0 for a message that does not expire
    expiry_time: int
    topic: str
    payload: bytes
    source_id: str
    source_username: str
    source_mid: int
    source_port: int
    qos: int
    retain: int
    # Encoded as in a PUBLISH packet of MQTT 5, without their length
    properties: bytes


class Client(t.NamedTuple):
    """A session."""

    client_id: str
    username: str
    expiry_time: int
    expiry_interval: int
    last_mid: int
    port: int


class Delivery(t.NamedTuple):
    """A message to or from one session. The deliveries of a session are in order."""

    client_id: str
    store_id: int
    mid: int
    qos: int
    state: int
    retain: int
    dup: int
    direction: int
    subscription_identifier: int


class Subscription(t.NamedTuple):
    """A topic filter of a session."""

    client_id: str
    topic: str
    # The QoS in the low two bits, the subscription options of MQTT 5 above it
    options: int
    identifier: int


class Retained(t.NamedTuple):
    """The ID of a message that is retained."""

    store_id: int


Record = Message | Client | Delivery | Subscription | Retained
