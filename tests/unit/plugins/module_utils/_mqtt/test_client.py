# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MQTT client without a library, tested with a socket. The Molecule scenarios use it with real brokers."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import frames, packets, transport
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.client import Client, connected

V3 = packets.LEVELS["3.1.1"]
LENGTHS = [0, 1, 100, 125, 126, 127, 128, 16383, 16384, 65535, 65536, 300_000]


class Peer:
    """A broker for one client, which returns the client's messages. It sends everything in pieces."""

    def __init__(self, connection: socket.socket, websockets: bool, code: int) -> None:
        self.connection, self.websockets, self.code = connection, websockets, code
        self.packets: list[packets.Packet] = []
        self.pongs: list[bytes] = []

    def send(self, data: bytes) -> None:
        if self.websockets:
            half = len(data) // 2
            self.frame(data[:half], frames.BINARY, final=False)
            self.frame(b"are you there?", frames.PING)
            self.frame(data[half:], frames.CONTINUATION)
        else:
            self.connection.sendall(data[:1])
            self.connection.sendall(data[1:])

    def frame(self, content: bytes, kind: int, final: bool = True) -> None:
        self.connection.sendall(frames.frame(content, kind, masked=False, final=final))

    def serve(self) -> None:
        framed, data = bytearray(), bytearray()
        with contextlib.suppress(OSError):
            while received := self.connection.recv(65536):
                if self.websockets:
                    framed += received
                    for kind, content in frames.split(framed):
                        if kind == frames.PONG:
                            self.pongs.append(content)
                        else:
                            data += content
                else:
                    data += received
                for packet in packets.split(data):
                    self.packets.append(packet)
                    self.answer(packet)

    def answer(self, packet: packets.Packet) -> None:
        kind, number = packet.kind, int.from_bytes(packet.body[:2], "big")
        if kind == packets.CONNECT:
            self.send(packets.packet(packets.CONNACK, bytes([0, self.code])))
        elif kind == packets.SUBSCRIBE:
            code = 0x80 if b"closed" in packet.body else 1
            self.send(packets.packet(packets.SUBACK, packet.body[:2] + bytes([code])))
        elif kind == packets.PUBLISH:
            message, number = packets.read_publish(V3, packet)
            self.send(packets.publish(V3, message, number))
            if message.qos:
                self.send(packets.acknowledge(packets.PUBACK if message.qos == 1 else packets.PUBREC, number))
        elif kind == packets.PUBREC:
            self.send(packets.acknowledge(packets.PUBREL, number))
        elif kind == packets.PUBREL:
            self.send(packets.acknowledge(packets.PUBCOMP, number))
        elif kind == packets.PINGREQ:
            self.send(packets.packet(packets.PINGRESP))


def arrived(client: Client) -> list[tuple[str, bytes]]:
    return [(message.topic, message.payload) for message in client.messages]


def client_at(connection: socket.socket, *, websockets: bool = False, timeout: float = 10) -> Client:
    """A client at the other end of a socket."""
    place = transport.Endpoint(path="/mqtt" if websockets else None)
    return Client(transport.Connection(connection, place), timeout)


@pytest.fixture
def connect():
    """A client and its peer."""
    with contextlib.ExitStack() as stack:

        def connected(websockets: bool = False, code: int = 0, timeout: float = 10) -> tuple[Client, Peer]:
            ours, theirs = socket.socketpair()
            peer = Peer(theirs, websockets, code)
            thread = threading.Thread(target=peer.serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(ours.close)
            return client_at(ours, websockets=websockets, timeout=timeout), peer

        yield connected


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_any_length(connect, websockets, length, qos):
    client, peer = connect(websockets)
    assert client.log_in() == 0
    client.subscribe(["a/#"], 1)
    client.publish("a/ü", b"x" * length, qos)
    client.ping()
    assert arrived(client) == [("a/ü", b"x" * length)]
    client.ping()
    sent = [(kind, flags) for kind, flags, _body in peer.packets if packets.PUBLISH < kind < packets.SUBSCRIBE]
    pubrel = packets.PUBREL, 2
    assert sorted(sent) == [[], [(packets.PUBACK, 0)], [(packets.PUBREC, 0), pubrel, (packets.PUBCOMP, 0)]][qos]
    if websockets:
        assert b"are you there?" in peer.pongs


@pytest.mark.parametrize("websockets", [False, True])
def test_many_messages_at_once(connect, websockets):
    client, _peer = connect(websockets)
    client.log_in()
    for number in range(100):
        client.publish(f"a/{number}", b"x" * number)
    client.ping()
    assert arrived(client) == [(f"a/{number}", b"x" * number) for number in range(100)]


@pytest.mark.parametrize(
    ("login", "flags", "payload"),
    [
        ((), 0x02, b"\0\0"),
        (("zuül",), 0x82, b"\0\0\0\5zu\xc3\xbcl"),
        (("zuul", ""), 0xC2, b"\0\0\0\4zuul\0\0"),
        (("z" * 300, "p"), 0xC2, b"\0\0\1\x2c" + b"z" * 300 + b"\0\1p"),
    ],
)
def test_logins(connect, login, flags, payload):
    client, peer = connect(code=5)
    assert client.log_in(*login) == 5
    assert peer.packets == [(packets.CONNECT, 0, b"\0\4MQTT\4" + bytes([flags]) + b"\0\x0a" + payload)]


def test_a_rejected_subscription(connect):
    client, _peer = connect()
    client.log_in()
    with pytest.raises(transport.Failure, match="rejected the subscription to closed") as caught:
        client.subscribe(["closed"])
    assert caught.value.cause == "subscription"


def test_listening_ends_in_time_and_loses_no_message(connect):
    client, peer = connect()
    client.log_in()
    packet = packets.publish(V3, packets.Message("a", b"payload"))
    peer.connection.sendall(packet[:4])
    begin = time.monotonic()
    client.listen(begin + 0.2)
    assert 0.2 <= time.monotonic() - begin < 2
    assert not client.messages
    peer.connection.sendall(packet[4:])
    client.listen(time.monotonic() + 0.2)
    assert arrived(client) == [("a", b"payload")]


def test_no_answer(connect):
    client, peer = connect(timeout=0.2)
    peer.answer = lambda *_args: None
    with pytest.raises(transport.Failure, match="gave no answer"):
        client.log_in()


def test_a_login_to_a_blocked_connection_ends_in_time():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x")
        begin = time.monotonic()
        client = Client(transport.Connection(ours, transport.Endpoint()), 3, login_deadline=begin + 0.2)
        with pytest.raises(transport.Failure, match="takes no more data"):
            client.log_in()
        assert 0.2 <= time.monotonic() - begin < 1


def test_the_end_of_a_connection(connect):
    client, peer = connect()
    client.log_in()
    peer.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(transport.Failure, match="the connection was lost"):
        client.listen(time.monotonic() + 5)


def test_the_end_of_a_websocket(connect):
    client, peer = connect(websockets=True)
    client.log_in()
    peer.frame(b"\3\xe8", frames.CLOSE)
    with pytest.raises(transport.Failure, match="the connection was lost"):
        client.listen(time.monotonic() + 5)


def test_data_that_is_not_mqtt(connect):
    client, peer = connect()
    peer.answer = lambda *_args: peer.connection.sendall(b"H\xff\xff\xff\xff\xff")
    with pytest.raises(transport.Failure, match="not with MQTT"):
        client.log_in()


@pytest.mark.parametrize("websockets", [False, True])
def test_messages_over_tls(certificate, websockets):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    peers = []

    def serve(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            if websockets:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    asked += connection.recv(65536)
                [key] = re.findall("Sec-WebSocket-Key: (.+)\r\n", asked.decode())
                accept = f"Sec-WebSocket-Accept: {frames.accept(key)}"
                connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{accept}\r\n\r\n".encode())
            peers.append(Peer(connection, websockets, 0))
            peers[0].serve()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        place = {"host": "127.0.0.1", "port": listening.getsockname()[1], "tls": True, "ca_file": certificate[0]}
        protocol = "websockets" if websockets else "mqtt"
        with connected({**place, "protocol": protocol}, 10) as client:
            assert client.log_in("zuul", "p") == 0
            client.listen(time.monotonic() + 0.1)
            # More than one record of TLS
            client.publish("a", b"x" * 100_000, 1)
            client.ping()
            client.leave()
        thread.join(10)
    assert arrived(client) == [("a", b"x" * 100_000)]
    assert peers[0].packets[-1] == (packets.DISCONNECT, 0, b"")


@pytest.mark.parametrize("kind", [packets.SUBACK, packets.PUBACK, packets.PUBLISH, packets.CONNACK, packets.AUTH])
def test_data_that_is_not_mqtt_after_the_login(connect, kind):
    client, peer = connect()
    client.log_in()
    peer.connection.sendall(bytes([kind << 4, 0]))
    with pytest.raises(transport.Failure, match="lost: the broker does not send MQTT"):
        client.listen(time.monotonic() + 5)


def test_a_message_before_malformed_data_counts(connect):
    client, peer = connect()
    client.log_in()
    peer.connection.sendall(packets.publish(V3, packets.Message("a", b"1")) + b"\x30" + b"\xff" * 4)
    with pytest.raises(transport.Failure, match="does not send MQTT: a number has more than 4 bytes"):
        client.listen(time.monotonic() + 5)
    assert arrived(client) == [("a", b"1")]


def test_a_repeated_qos_2_message_counts_once(connect):
    client, peer = connect()
    client.log_in()
    sent = packets.publish(V3, packets.Message("a", b"1", 2), 7)
    release = packets.acknowledge(packets.PUBREL, 7)
    peer.connection.sendall(sent + sent + release + sent)
    client.ping()
    assert arrived(client) == [("a", b"1")] * 2


@pytest.mark.parametrize("answers", [True, False])
def test_keepalive(answers):
    """A broker that answers pings is alive. One that does not is lost."""
    ours, theirs = socket.socketpair()
    peer = Peer(theirs, False, 0)
    with ours, theirs:
        threading.Thread(target=peer.serve, daemon=True).start()
        client = Client(transport.Connection(ours, transport.Endpoint()), 5, keepalive=1)
        client.log_in()
        if not answers:
            peer.answer = lambda _packet: None
        with contextlib.nullcontext() if answers else pytest.raises(transport.Failure, match="was lost"):
            client.listen(time.monotonic() + 2.5)
        assert [one.kind for one in peer.packets[1:]] == [packets.PINGREQ] * (2 if answers else 1)


class Busy:
    """A connection that always has data to read."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.coming = packets.packet(packets.CONNACK, b"\0\0")

    def send(self, data: bytes, _deadline: float) -> None:
        self.sent.append(data)

    def receive(self, _deadline: float) -> bytes:
        time.sleep(0.01)
        came, self.coming = self.coming, packets.publish(V3, packets.Message("a", b""))
        return came


def test_the_client_pings_while_messages_arrive():
    connection = Busy()
    client = Client(connection, 5, keepalive=1)
    client.log_in()
    client.listen(time.monotonic() + 1.5)
    assert connection.sent[1:] == [b"\xc0\0"]


def test_an_answer_together_with_a_websocket_close():
    """A proxy may join two packets of the broker."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = client_at(ours, websockets=True)
        rejected = packets.packet(packets.CONNACK, b"\0\5")
        closing = frames.frame(b"\3\xe8", frames.CLOSE, masked=False)
        theirs.sendall(frames.frame(rejected, masked=False) + closing)
        assert client.log_in() == 5
        with pytest.raises(transport.Failure, match="the connection was lost"):
            client.ping()
