# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of RabbitMQ that serves anonymous clients instead of public brokers."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .clients import TLS_PORTS, PahoSubscriber, Way
from .fixtures import Firehose, Firehoses

BRIDGE_PORT = TLS_PORTS["tcp"]


class ClusterWay(Way):
    """A transport and a version of the protocol, as RabbitMQ serves it."""

    @property
    def port(self) -> int:
        """RabbitMQ's own ports."""
        return 15675 if self.transport == "websockets" else super().port


WAYS = [ClusterWay(transport, version) for transport in ("tcp", "websockets") for version in ("3.1.1", "5")]
# The listener for the bridge. Anonymous clients can connect to it too.
ALL_WAYS = [*WAYS, dataclasses.replace(WAYS[0], tls=True)]


def at_each_node(
    stack: contextlib.ExitStack, nodes: t.Mapping[str, Firehose], filters: t.Sequence[str] = ("#",)
) -> dict[str, PahoSubscriber]:
    """Connect anonymous subscribers to each node, one for each way."""
    return {
        f"{name} {way}": stack.enter_context(PahoSubscriber(node.address, way, filters))
        for name, node in nodes.items()
        for way in WAYS
    }


def bridged_to(core: Firehose, nodes: Firehoses) -> str | None:
    """The name of the node that receives events from the core host."""
    found = core.host.check_output(f"ss --no-header --tcp --numeric state established dport = :{BRIDGE_PORT}")
    return next((name for name, node in nodes.items() if f"{node.address}:{BRIDGE_PORT}" in found), None)
