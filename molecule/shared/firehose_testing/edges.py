# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that serve the public beside a core, and what is different with their engines."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .clients import TLS_WAYS, WAYS, Way
from .fixtures import Firehose, Hosts

SERVICES = {"mosquitto": ["mosquitto@1", "mosquitto@2"], "nats": ["nats-server", "firehose-relay"]}
CUT = "table inet cut { chain cut { type filter hook %s priority -200; %s drop; }; }"


@contextlib.contextmanager
def cut_off(firehose: Firehose, selection: str = "iif != lo", hook: str = "input") -> t.Iterator[None]:
    """Nothing gets to it, or away with the hook `output`, and nobody is told."""
    firehose.host.check_output("nft %s", CUT % (hook, selection))
    try:
        yield
    finally:
        firehose.host.check_output("nft delete table inet cut")


@dataclasses.dataclass(frozen=True)
class Edge(Firehose):
    """An edge, which has no accounts."""

    engine: str

    @property
    def ways(self) -> list[Way]:
        """How the public gets in. NATS does not speak MQTT 5."""
        return [way for way in (*WAYS, *TLS_WAYS) if self.engine == "mosquitto" or way.version == "3.1.1"]

    @property
    def services(self) -> list[str]:
        """What serves, behind HAProxy."""
        return SERVICES[self.engine]

    @property
    def servers(self) -> list[str]:
        """Those of them that clients are connected to."""
        return [service for service in self.services if service != "firehose-relay"]


class Edges(Hosts[Edge]):
    """All of them, by name."""

    def of(self, engine: str) -> t.Self:
        """Those with this engine."""
        return type(self)({name: edge for name, edge in self.items() if edge.engine == engine})
