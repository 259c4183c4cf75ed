# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody publishes at an edge, and nobody gets behind it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
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
from firehose_testing.edges import Edge, Edges
from firehose_testing.fixtures import Firehose
from firehose_testing.hostile import packets
from firehose_testing.hostile.packets import V3
from firehose_testing.waiting import wait_until

TCP = Way("tcp", "3.1.1")
TOPICS = ["gerrit/x", "ci/x", "$SYS/broker/x", "$SYS/REQ/SERVER/PING", "$share/x/gerrit"]
TOPICS += ["$JS/API/STREAM/LIST", "$JS/API/STREAM/DELETE/$MQTT_sess"]
CLAIMS = {
    "anonymous": ANONYMOUS,
    "a publisher without a password": Account("ci"),
    "a publisher with its password": Account("ci", "only-for-tests-ci"),
    "the edge with its password": Account("firehose-edge", "only-for-tests-edge: 100% 'quoted'"),
}
PORTS = {"tcp": {1883, 8883}, "websockets": {80, 443}}
# Pass on what comes from NATS itself, where nobody changes what a client asks for.
READ = """
import os, socket, sys, threading
connection = socket.create_connection(("127.0.0.1", 21001))
connection.sendall(bytes.fromhex(sys.argv[1]))
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
while data := connection.recv(65536):
    os.write(1, data)
os._exit(1)
"""


# The head of a SUBACK for four topic filters
SUBSCRIBED = bytes([packets.SUBACK << 4, 6])


class Insider:
    """Somebody who reads everything at an edge's NATS, what it has for itself included."""

    def __init__(self, edge: Edge) -> None:
        everything = packets.connect(V3, keepalive=0) + packets.subscribe(V3, ["#", "$SYS/#", "$JS/#", "$MQTT/#"])
        command = ["docker", "exec", "--interactive", edge.name, "python3", "-c", READ, everything.hex()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.got = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        wait_until(lambda: SUBSCRIBED in self.got, "NATS has answered")

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read(65536):
            self.got += data


@pytest.fixture(scope="module")
def insiders(edges: Edges) -> t.Iterator[list[Insider]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Insider(edge)) for edge in edges.of("nats").values()]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("way", [*WAYS, *TLS_WAYS[::2]], ids=str)
def test_publishing_reaches_nobody(
    core: Firehose, edges: Edges, insiders: list[Insider], ci: Account, way: Way, mode: Mode, claim: str
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
    for insider in insiders:
        wait_until(
            lambda insider=insider: fence.encode() in insider.got, "NATS has handed on what was published after it"
        )
        assert payload.encode() not in insider.got


def test_only_the_publics_ports_are_open(edges: Edges) -> None:
    def listening(edge: Edge) -> set[str]:
        sockets = edge.host.check_output("ss --listening --tcp --numeric --no-header --oneline").splitlines()
        return {place for place in (line.split()[3] for line in sockets) if not place.startswith(("127.", "[::1]"))}

    wanted = {f"*:{port}" for ports in PORTS.values() for port in ports}
    assert edges.each(listening) == dict.fromkeys(edges, wanted)


@pytest.mark.parametrize("port", [1883, 8883])
def test_who_says_nothing_is_let_go(edges: Edges, port: int) -> None:
    def silent(edge: Edge) -> bytes:
        with socket.create_connection((edge.address, port), timeout=20) as connection:
            return connection.recv(1)

    # HAProxy bounds a handshake of TLS from 3.0 on, which Debian 12 does not have.
    able = Edges({name: edge for name, edge in edges.items() if port == 1883 or "debian12" not in name})
    assert able.each(silent) == dict.fromkeys(able, b"")


def test_the_host_itself_sees_how_many_are_connected(edges: Edges) -> None:
    def connected(edge: Edge) -> float:
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
