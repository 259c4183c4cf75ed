# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is measured, and how subscribers and the publisher get there."""

from __future__ import annotations

import dataclasses
import os
import typing as t


@dataclasses.dataclass(frozen=True)
class Contender:
    """Somebody who fans events out: the container, its ports, and who publishes where."""

    name: str
    what: str
    host: str
    tcp: tuple[int, ...]
    websockets: tuple[int, ...] = ()
    # Where events are published; what only hands them on from there is not counted.
    publish_at: str = "origin"
    publish_port: int = 1884
    publish_qos: int = 1
    # Subscribers come from within the container, and so to its loopback.
    within: bool = False
    bursts_only: bool = False
    processes: tuple[str, ...] = ("mosquitto",)

    def ports(self, transport: str) -> tuple[int, ...]:
        """Where subscribers connect: none if they cannot."""
        return self.tcp if transport == "tcp" else self.websockets

    @property
    def containers(self) -> set[str]:
        """What has to run while it is measured."""
        return {self.host, self.publish_at}


BROKERS = range(1, (os.cpu_count() or 1) + 1)
NATS = ("nats-server", "firehose-relay")

ALL = [
    Contender("stock", "stock Mosquitto", "stock", (1883,), (8080,), "stock", 1883),
    Contender("core", "core", "core", (1883,), (80,), "core"),
    Contender(
        "edge-mosquitto",
        "Mosquitto edge",
        "edge-mosquitto",
        (1883,),
        (80,),
        processes=("mosquitto", "haproxy"),
    ),
    Contender(
        "edge-mosquitto-bare",
        "  without HAProxy",
        "edge-mosquitto",
        tuple(21000 + number for number in BROKERS),
        tuple(22000 + number for number in BROKERS),
        within=True,
    ),
    Contender("edge-nats", "NATS edge", "edge-nats", (1883,), (80,), processes=(*NATS, "haproxy")),
    Contender("edge-nats-bare", "  without HAProxy", "edge-nats", (21001,), (22001,), within=True, processes=NATS),
    Contender(
        "edge-nats-fed",
        "    published at it",
        "edge-nats",
        (21001,),
        (22001,),
        "edge-nats",
        21001,
        0,
        within=True,
        bursts_only=True,
        processes=NATS,
    ),
    Contender("limit-1", "limit, 1 a write", "limit", (2001,), (), "limit", 2001, processes=("limit",)),
    Contender(
        "limit-50", "limit, 50 a write", "limit", (2050,), (), "limit", 2050, bursts_only=True, processes=("limit",)
    ),
]


def edges(contenders: t.Iterable[Contender]) -> set[str]:
    """The engines of those that are edges."""
    return {each.host.removeprefix("edge-") for each in contenders if each.host.startswith("edge-")}
