# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for core and edge hosts: public brokers, and HAProxy in front of them."""

from __future__ import annotations

import contextlib
import re
import typing as t

import testinfra.host

from .clients import PORTS, TLS_PORTS, PahoSubscriber, Way
from .fixtures import Firehose

# HAProxy for anonymous clients, and for accounts
HAPROXY, ACCOUNTS = "firehose-haproxy", "firehose-accounts"
# All public brokers, for commands that apply to running units.
PUBLIC_BROKERS = "mosquitto@*.service"
# The public ports of a host with a certificate.
PUBLIC_PORTS = {*PORTS.values(), *TLS_PORTS.values()}
BACKENDS = {"tcp": "mqtt", "websockets": "websockets"}
METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:700/metrics').read().decode())"


def public_units(host: testinfra.host.Host) -> list[str]:
    """The units of the public brokers, running or not."""
    shown = host.check_output(f"systemctl list-unit-files --state enabled --no-legend '{PUBLIC_BROKERS}'")
    return [line.split()[0].removesuffix(".service") for line in shown.splitlines()]


def open_ports(host: testinfra.host.Host) -> dict[int, set[str]]:
    """The TCP ports that other hosts can reach, and the ids of the users that opened them."""
    found: dict[int, set[str]] = {}
    for line in host.check_output("ss --listening --tcp --numeric --no-header --oneline --extended").splitlines():
        place = line.split()[3]
        if not place.startswith(("127.", "[::1]")):
            # ss shows all users but root.
            user = re.search(r" uid:(\d+)", line)
            found.setdefault(int(place.rpartition(":")[2]), set()).add(user[1] if user else "0")
    return found


def current_sessions(host: testinfra.host.Host, kind: t.Literal["frontend", "server"]) -> dict[str, int]:
    """The number of connections of HAProxy, by the labels of each frontend or each server of a backend."""
    metrics = host.check_output("python3 -c %s", METRICS)
    found = re.findall(rf"^haproxy_{kind}_current_sessions\{{(.*)\}} (\d+)", metrics, re.MULTILINE)
    return {labels: int(count) for labels, count in found}


def at_each_broker(
    stack: contextlib.ExitStack, firehose: Firehose, way: Way, filters: t.Sequence[str] = ("#",)
) -> list[PahoSubscriber]:
    """Connect subscribers until each public broker has at least one.

    HAProxy sends each client to the broker with the fewest connections. A message that an anonymous client publishes could reach
    only the clients of its own broker.
    """
    found: list[PahoSubscriber] = []
    brokers, backend = len(public_units(firehose.host)), f'proxy="{BACKENDS[way.transport]}"'

    def are_everywhere() -> bool:
        servers = current_sessions(firehose.host, "server").items()
        counts = [count for labels, count in servers if labels.startswith(backend)]
        assert len(counts) == brokers, counts
        return min(counts) > 0

    while len(found) < brokers or not are_everywhere():
        assert len(found) < 10 * brokers, f"{len(found)} subscribers are not at each of {brokers} brokers"
        found.append(stack.enter_context(PahoSubscriber(firehose.address, way, filters)))
    return found
