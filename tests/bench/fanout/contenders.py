# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is measured, and how subscribers and the publisher get there."""

from __future__ import annotations

import dataclasses


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
    bursts_only: bool = False
    processes: tuple[str, ...] = ("mosquitto",)

    def ports(self, transport: str) -> tuple[int, ...]:
        """Where subscribers connect: none if they cannot."""
        return self.tcp if transport == "tcp" else self.websockets

    @property
    def containers(self) -> set[str]:
        """What has to run while it is measured."""
        return {self.host, self.publish_at}


TIER = ("mosquitto", "haproxy")

ALL = [
    Contender("stock", "stock Mosquitto", "stock", (1883,), (8080,), "stock", 1883),
    Contender("core", "core host", "core", (1883,), (80,), "core", processes=TIER),
    Contender("edge", "edge host", "edge", (1883,), (80,), processes=TIER),
    Contender("limit-1", "limit, 1 a write", "limit", (2001,), (), "limit", 2001, processes=("limit",)),
    Contender(
        "limit-50", "limit, 50 a write", "limit", (2050,), (), "limit", 2050, bursts_only=True, processes=("limit",)
    ),
]
