# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contenders, and how subscribers and the publisher connect to them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program that fans events out: the container, its ports, and where events are published."""

    name: str
    what: str
    host: str
    tcp: tuple[int, ...]
    websockets: tuple[int, ...] = ()
    # The place where events are published. Processes that only relay from there are not counted.
    publish_at: str = "origin"
    publish_port: int = 1884
    bursts_only: bool = False
    processes: tuple[str, ...] = ("mosquitto",)

    def ports(self, transport: str) -> tuple[int, ...]:
        """The ports for subscribers, or none if the transport is not supported."""
        return self.tcp if transport == "tcp" else self.websockets

    @property
    def containers(self) -> set[str]:
        """The containers that must run for the measurement."""
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
