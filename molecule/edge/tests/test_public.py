# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Anonymous clients cannot publish at an edge host, and reach nothing behind HAProxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
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

TCP = Way("tcp", "3.1.1")
TOPICS = ["gerrit/x", "ci/x", "$SYS/broker/x", "$CONTROL/dynamic-security/v1", "$share/x/gerrit"]
CLAIMS = {
    "anonymous": ANONYMOUS,
    "a publisher without a password": Account("ci"),
    "a publisher with its password": Account("ci", "only-for-tests-ci"),
    "the edge with its password": Account("firehose-edge", "only-for-tests-edge: 100% 'quoted'"),
}
PORTS = {"tcp": {1883, 8883}, "websockets": {80, 443}}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS[::2]], ids=str)
def test_publishing_reaches_nobody(
    core: Firehose, edges: Firehoses, ci: Account, way: Way, mode: Mode, claim: str
) -> None:
    topics = TOPICS[:1] if mode.will else TOPICS
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        public = [
            stack.enter_context(PahoSubscriber(host.address, TCP, ["#", "$SYS/#"])) for host in (core, *edges.values())
        ]
        edges.each(lambda edge: publish(edge.address, CLAIMS[claim], way, mode, dict.fromkeys(topics, payload)))
        for _round in range(2):  # a will may come behind the first
            publish(core.address, ci, ACCOUNT_TLS, QOS1, {"fence": fence})
            for subscriber in public:
                subscriber.wait_for(payload=fence)
        assert [m for subscriber in public for m in subscriber.messages if m.payload == payload] == []


def test_only_the_public_ports_are_open(edges: Firehoses) -> None:
    def listening(edge: Firehose) -> set[str]:
        sockets = edge.host.check_output("ss --listening --tcp --numeric --no-header --oneline").splitlines()
        return {place for place in (line.split()[3] for line in sockets) if not place.startswith(("127.", "[::1]"))}

    wanted = {f"*:{port}" for ports in PORTS.values() for port in ports}
    assert edges.each(listening) == dict.fromkeys(edges, wanted)


def test_a_connection_is_one_client(edges: Firehoses) -> None:
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

    # HAProxy limits the time of a TLS handshake from 3.0 on, which Debian 12 does not have.
    able = Firehoses({name: edge for name, edge in edges.items() if port == 1883 or "debian12" not in name})
    assert able.each(silent) == dict.fromkeys(able, b"")


def test_the_host_itself_sees_how_many_are_connected(edges: Firehoses) -> None:
    def connected(edge: Firehose) -> float:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:21000/metrics').read().decode())"
        metrics = edge.host.check_output("python3 -c %s", ask)
        [line] = [
            one for one in metrics.splitlines() if one.startswith('haproxy_frontend_current_sessions{proxy="1883"}')
        ]
        return float(line.split()[-1])

    before = edges.each(connected)
    with contextlib.ExitStack() as stack:
        for edge in edges.values():
            stack.enter_context(PahoSubscriber(edge.address, TCP))
        assert edges.each(connected) == {name: number + 1 for name, number in before.items()}
