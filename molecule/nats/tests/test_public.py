# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the public gets from a cluster, and that it can do nothing else."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import socket
import ssl
import time
import uuid

import pytest
from firehose_testing.clients import ANONYMOUS, MODES, QOS, QOS1, Account, Mode, PahoSubscriber, Way, publish
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.nats import RELAY, SESSIONS, TCP, WEBSOCKETS, streams
from firehose_testing.waiting import wait_until

TLS = [Way("tcp", "3.1.1", tls=True), Way("websockets", "3.1.1", tls=True)]
TOPICS = [
    "gerrit/x",
    "$SYS/REQ/SERVER/PING",
    f"$JS/API/STREAM/DELETE/{SESSIONS}",
    "$MQTT/sess/x",
    "$MQTT/msgs/gerrit/x",
]
CLAIMS = {
    "anonymous": ANONYMOUS,
    "the public with its password": Account("public", "only-for-tests-public"),
    "a publisher without a password": Account("relay"),
    "the operator, who may not speak MQTT": Account("operator", 'only-for-tests: "quoted" \\ and $HOME'),
}
CERTIFICATES = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


def everywhere(stack: contextlib.ExitStack, servers: Firehoses, filters: list[str]) -> list[PahoSubscriber]:
    """A reader at each server in each way."""
    return [
        stack.enter_context(PahoSubscriber(server.address, way, filters))
        for server in servers.values()
        for way in (TCP, WEBSOCKETS)
    ]


@pytest.mark.parametrize("mode", QOS, ids=str)
def test_a_message_arrives_at_all_servers(cluster: Firehoses, mode: Mode) -> None:
    with contextlib.ExitStack() as stack:
        readers = everywhere(stack, cluster, ["#"])
        for server in cluster.values():
            payload = str(uuid.uuid4())
            publish(server.address, RELAY, TCP, mode, {"gerrit/x/y": payload})
            for reader in readers:
                reader.wait_for(topic="gerrit/x/y", payload=payload)


@pytest.mark.parametrize("way", TLS, ids=str)
def test_a_message_arrives_over_tls(alone: Firehose, way: Way) -> None:
    with PahoSubscriber(alone.address, way, ["gerrit/#"]) as reader:
        publish(alone.address, RELAY, TLS[0], QOS1, {"gerrit/x": "over TLS"})
        reader.wait_for(topic="gerrit/x", payload="over TLS")


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_publishing_reaches_nobody(cluster: Firehoses, mode: Mode) -> None:
    fence = str(uuid.uuid4())
    topics = TOPICS[:1] if mode.will else TOPICS
    tries = list(itertools.product(CLAIMS, (TCP, WEBSOCKETS)))
    with contextlib.ExitStack() as stack:
        readers = everywhere(stack, cluster, ["#"])
        for claim, way in tries:
            payload = f"{claim} over {way}"
            cluster.each(
                lambda server, claim=claim, way=way, payload=payload: publish(
                    server.address, CLAIMS[claim], way, mode, dict.fromkeys(topics, payload)
                )
            )
        for _round in range(2):  # a will may come behind the first
            cluster.each(lambda server: publish(server.address, RELAY, TCP, QOS1, {"fence": fence}))
            for reader in readers:
                reader.wait_for(payload=fence)
        assert {message.payload for reader in readers for message in reader.messages} == {fence}
    assert SESSIONS in streams(next(iter(cluster.values())))


def test_nobody_reads_what_is_between_servers(cluster: Firehoses) -> None:
    first = next(iter(cluster.values()))
    with contextlib.ExitStack() as stack:
        curious = everywhere(stack, cluster, ["$SYS/#", "$JS/#", "$MQTT/sess/#", "$MQTT/JSA/#"])
        readers = everywhere(stack, cluster, ["fence"])
        # It makes a session and a consumer.
        with PahoSubscriber(first.address, TCP, ["gerrit/#"]):
            publish(first.address, RELAY, TCP, QOS1, {"fence": "done"})
        for reader in readers:
            reader.wait_for(payload="done")
        assert [message for reader in curious for message in reader.messages] == []


def test_only_the_publics_ports_are_open(cluster: Firehoses, alone: Firehose) -> None:
    def listening(server: Firehose) -> set[str]:
        sockets = server.host.check_output("ss --listening --tcp --numeric --no-header --oneline").splitlines()
        return {place for place in (line.split()[3] for line in sockets) if not place.startswith(("127.", "[::1]"))}

    assert cluster.each(listening) == {name: {"*:1883", "*:80", "*:6222"} for name in cluster}
    assert listening(alone) == {"*:8883", "*:443"}
    for server in (*cluster.values(), alone):
        for port in (4222, 8222):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((server.address, port), timeout=5).close()


def frame(text: str) -> bytes:
    """A short text as a client's websocket has it."""
    payload = text.encode()
    return bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def test_websockets_are_for_mqtt_alone(cluster: Firehoses) -> None:
    for server in cluster.values():
        with socket.create_connection((server.address, 80), timeout=10) as connection:
            connection.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            time.sleep(0.2)
            connection.sendall(frame('CONNECT {"verbose":false}\r\nSUB > 1\r\nPING\r\n'))
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(4096):
                    answer += piece
        assert b"INFO {" in answer
        assert b"-ERR 'Authorization Violation'" in answer
        assert b"PONG" not in answer


def joins(server: Firehose, certificate: str | None) -> bool:
    """Whether a server lets another in, which shows this certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / f"{certificate}-key.pem")
    with socket.create_connection((server.address, 6222), timeout=10) as connection:
        try:
            with context.wrap_socket(connection) as encrypted:
                return encrypted.recv(4096).startswith(b"INFO ")
        except (ssl.SSLError, ConnectionResetError):
            return False


def test_only_servers_with_a_certificate_join(cluster: Firehoses, alone: Firehose) -> None:
    assert cluster.each(lambda server: joins(server, None)) == dict.fromkeys(cluster, False)
    # Its authority is another one: itself.
    assert cluster.each(lambda server: joins(server, "stranger")) == dict.fromkeys(cluster, False)
    assert cluster.each(lambda server: joins(server, f"{alone.name}-good")) == dict.fromkeys(cluster, True)


def goes_through(publisher: Firehose, reader: Firehose) -> bool:
    """Whether a message that is published at one server now arrives at another."""
    payload = str(uuid.uuid4())
    # With a higher QoS, NATS now and then means the missing server to lead what it keeps for a subscription, and refuses it.
    subscriber = PahoSubscriber(reader.address, WEBSOCKETS, ["gerrit/#"], qos=0)
    with contextlib.suppress(ConnectionError), subscriber:
        publish(publisher.address, RELAY, TCP, QOS1, {"gerrit/x": payload})
        subscriber.wait_for(payload=payload, timeout=1)
        return True
    return False


def test_two_servers_go_on_without_the_third(cluster: Firehoses) -> None:
    first, second, third = cluster.values()
    first.host.check_output("systemctl stop nats-server")
    assert first.host.run("systemctl is-active nats-server").stdout.strip() == "inactive"
    try:
        # They choose another one for each stream that it was responsible for.
        wait_until(lambda: goes_through(second, third), "a message went through", timeout=60)
    finally:
        first.host.check_output("systemctl start nats-server")
    wait_until(lambda: goes_through(second, first), "the first was back")
