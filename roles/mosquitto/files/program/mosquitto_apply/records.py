# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Mosquitto stores: the records that both of its formats hold, and how a file can be wrong."""

from __future__ import annotations

import typing as t


class Damaged(Exception):
    """The file is not as Mosquitto writes it. It cannot be read by any version."""


class UnknownVersion(Exception):
    """The file is of a version that this program does not know. Another Mosquitto may read it."""


class Message(t.NamedTuple):
    """A message that is retained, or waits for clients."""

    store_id: int
    # In seconds since 1970, 0 for a message without an end
    expiry_time: int
    topic: str
    payload: bytes
    source_id: str
    source_username: str
    source_mid: int
    source_port: int
    qos: int
    retain: int
    # As a PUBLISH packet of MQTT 5 has them, without their length
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
    """A message for one session, or from it. Those of a session are in order."""

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
    # The QoS, and the options of MQTT 5 above it
    options: int
    identifier: int


class Retained(t.NamedTuple):
    """That a message is retained."""

    store_id: int


Record = Message | Client | Delivery | Subscription | Retained
