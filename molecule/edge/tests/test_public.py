# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Anonymous clients cannot publish at an edge host, and cannot connect to ports behind HAProxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import typing as t
import uuid

import pytest
from firehose_testing.clients import (
    ACCOUNT_TLS,
    ANONYMOUS,
    MODES,
    QOS1,
    TLS_WAYS,
    WAYS,
    Account,
    Mode,
    PahoSubscriber,
    Way,
    publish,
)
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import PUBLIC_PORTS, at_each_broker, current_sessions, open_ports

TCP, WEBSOCKETS = Way("tcp", "3.1.1"), Way("websockets", "3.1.1")
TOPICS = ["gerrit/x", "ci/x", "$SYS/broker/x", "$CONTROL/dynamic-security/v1", "$share/x/gerrit"]
CLAIMS = {
    "anonymous": ANONYMOUS,
    "a publisher without a password": Account("ci"),
    "a publisher with its password": Account("ci", "only-for-tests-ci"),
    "the edge with its password": Account("firehose-edge", "only-for-tests-edge: 100% 'quoted'"),
}


@pytest.fixture(scope="module")
def watchers(core: Firehose, edges: Firehoses) -> t.Iterator[list[PahoSubscriber]]:
    """Subscribers to everything at each public broker of all hosts."""
    with contextlib.ExitStack() as stack:
        yield [
            watcher
            for host in (core, *edges.values())
            for way in (TCP, WEBSOCKETS)
            for watcher in at_each_broker(stack, host, way, ["#", "$SYS/#"])
        ]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS[::2]], ids=str)
def test_no_client_can_publish_at_an_edge_host(
    core: Firehose, edges: Firehoses, ci: Account, watchers: list[PahoSubscriber], way: Way, mode: Mode, claim: str
) -> None:
    topics = TOPICS[:1] if mode.will else TOPICS
    payload = str(uuid.uuid4())
    edges.each(lambda edge: publish(edge.address, CLAIMS[claim], way, mode, dict.fromkeys(topics, payload)))
    for _round in range(2):  # a will may arrive after the first fence message
        fence = str(uuid.uuid4())
        publish(core.address, ci, ACCOUNT_TLS, QOS1, {"fence": fence})
        for watcher in watchers:
            watcher.wait_for(payload=fence)
    assert [message for watcher in watchers for message in watcher.messages if message.payload == payload] == []


def test_only_the_public_ports_are_open(edges: Firehoses) -> None:
    assert edges.each(lambda edge: {*open_ports(edge.host)}) == dict.fromkeys(edges, PUBLIC_PORTS)


def test_http_2_is_not_offered(edges: Firehoses) -> None:
    """An HTTP/2 connection could carry a hundred clients."""

    def spoken(edge: Firehose) -> str | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection((edge.address, 443), 10) as plain, context.wrap_socket(plain) as connection:
            return connection.selected_alpn_protocol()

    assert edges.each(spoken) == dict.fromkeys(edges, "http/1.1")


@pytest.mark.parametrize("port", [1883, 8883])
def test_a_silent_connection_is_closed(edges: Firehoses, port: int) -> None:
    def silent(edge: Firehose) -> bytes:
        with socket.create_connection((edge.address, port), timeout=20) as connection:
            return connection.recv(1)

    # HAProxy limits the time of a TLS handshake since 3.0, which Debian 12 does not have.
    able = Firehoses({name: edge for name, edge in edges.items() if port == 1883 or "debian12" not in name})
    assert able.each(silent) == dict.fromkeys(able, b"")


def test_haproxy_reports_the_number_of_connections_on_the_host(edges: Firehoses) -> None:
    def connected(edge: Firehose) -> int:
        return current_sessions(edge.host, "frontend")['proxy="1883"']

    before = edges.each(connected)
    with contextlib.ExitStack() as stack:
        for edge in edges.values():
            stack.enter_context(PahoSubscriber(edge.address, TCP))
        assert edges.each(connected) == {name: number + 1 for name, number in before.items()}
