# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MQTT client without a library, at the other end of a socket. With real brokers it is used in the Molecule scenarios."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _handshake, _raw_client

LENGTHS = [0, 1, 100, 125, 126, 127, 128, 16383, 16384, 65535, 65536, 300_000]


class Peer:
    """A broker for one client, which gets back what it publishes. Says everything in pieces."""

    def __init__(self, connection: socket.socket, websockets: bool, code: int) -> None:
        self.connection, self.websockets, self.code = connection, websockets, code
        self.packets: list[tuple[int, bytes]] = []
        self.data = b""

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.connection.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def take(self, count: int) -> bytes:
        """MQTT, out of the masked frames of a client's if it is behind a websocket."""
        while len(self.data) < count:
            if not self.websockets:
                self.data += self.receive(count - len(self.data))
                continue
            kind, size = self.receive(2)
            size &= 0x7F
            if size >= 126:
                size = int.from_bytes(self.receive(2 if size == 126 else 8), "big")
            assert self.receive(4) == bytes(4)
            payload = self.receive(size)
            if kind & 0x0F == _raw_client.PONG:
                self.packets.append((_raw_client.PONG, payload))
            else:
                self.data += payload
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def send(self, kind: int, body: bytes = b"", flags: int = 0) -> None:
        data = _raw_client.packet(kind, body, flags)
        if self.websockets:
            half = len(data) // 2
            self.frame(0x02, data[:half])
            self.frame(0x89, b"are you there?")
            self.frame(0x80, data[half:])
        else:
            self.connection.sendall(data[:1])
            self.connection.sendall(data[1:])

    def frame(self, kind: int, content: bytes) -> None:
        size = len(content)
        if size < 126:
            head = bytes([kind, size])
        elif size < 65536:
            head = bytes([kind, 126]) + struct.pack("!H", size)
        else:
            head = bytes([kind, 127]) + struct.pack("!Q", size)
        self.connection.sendall(head + content)

    def serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                [head] = self.take(1)
                length = shift = 0
                while True:
                    [digit] = self.take(1)
                    length |= (digit & 0x7F) << shift
                    shift += 7
                    if digit < 0x80:
                        break
                body = self.take(length)
                self.packets.append((head, body))
                self.answer(head >> 4, head & 0x0F, body)

    def answer(self, kind: int, flags: int, body: bytes) -> None:
        if kind == _raw_client.CONNECT:
            self.send(_raw_client.CONNACK, bytes([0, self.code]))
        elif kind == _raw_client.SUBSCRIBE:
            self.send(_raw_client.SUBACK, body[:2] + bytes([0x80 if b"closed" in body else 1]))
        elif kind == _raw_client.PUBLISH:
            self.send(_raw_client.PUBLISH, body, flags)
            if flags & 0x06:
                end = 2 + int.from_bytes(body[:2], "big")
                self.send(_raw_client.PUBACK, body[end : end + 2])
        elif kind == _raw_client.PINGREQ:
            self.send(_raw_client.PINGRESP)


@pytest.fixture
def connect():
    """A client and its peer."""
    with contextlib.ExitStack() as stack:

        def connected(websockets: bool = False, code: int = 0, timeout: float = 10) -> tuple[_raw_client.Client, Peer]:
            ours, theirs = socket.socketpair()
            peer = Peer(theirs, websockets, code)
            thread = threading.Thread(target=peer.serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(ours.close)
            return _raw_client.Client(ours, websockets=websockets, timeout=timeout), peer

        yield connected


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_of_any_length(connect, websockets, length, qos):
    client, peer = connect(websockets)
    assert client.log_in() == 0
    assert client.subscribe(["a/#"], 1)
    client.publish("a/ü", b"x" * length, qos)
    client.ping()
    assert [*client.messages] == [("a/ü", b"x" * length)]
    client.ping()
    assert [head for head, _body in peer.packets if head >> 4 == _raw_client.PUBACK] == [0x40] * qos
    if websockets:
        assert (_raw_client.PONG, b"are you there?") in peer.packets


@pytest.mark.parametrize("websockets", [False, True])
def test_many_messages_at_once(connect, websockets):
    client, _peer = connect(websockets)
    client.log_in()
    for number in range(100):
        client.publish(f"a/{number}", b"x" * number)
    client.ping()
    assert [*client.messages] == [(f"a/{number}", b"x" * number) for number in range(100)]


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
    assert peer.packets == [(0x10, b"\0\4MQTT\4" + bytes([flags]) + b"\0\x0a" + payload)]


def test_a_refused_subscription(connect):
    client, _peer = connect()
    client.log_in()
    assert not client.subscribe(["closed"])


def test_listening_ends_in_time_and_loses_nothing(connect):
    client, peer = connect()
    client.log_in()
    packet = _raw_client.packet(_raw_client.PUBLISH, _raw_client.text("a") + b"payload")
    peer.connection.sendall(packet[:4])
    begin = time.monotonic()
    client.listen(begin + 0.2)
    assert 0.2 <= time.monotonic() - begin < 2
    assert not client.messages
    peer.connection.sendall(packet[4:])
    client.listen(time.monotonic() + 0.2)
    assert [*client.messages] == [("a", b"payload")]


def test_no_answer(connect):
    client, peer = connect(timeout=0.2)
    peer.answer = lambda *_args: None
    with pytest.raises(_handshake.NoAnswer, match="does not answer"):
        client.log_in()


def test_the_end_of_a_connection(connect):
    client, peer = connect()
    client.log_in()
    peer.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(_handshake.NoAnswer, match="ended the connection"):
        client.listen(time.monotonic() + 5)


def test_the_end_of_a_websocket(connect):
    client, peer = connect(websockets=True)
    client.log_in()
    peer.frame(0x88, b"\3\xe8")
    with pytest.raises(_handshake.NoAnswer, match="ended the connection"):
        client.listen(time.monotonic() + 5)


def test_what_is_no_mqtt(connect):
    client, peer = connect()
    peer.answer = lambda *_args: peer.connection.sendall(b"H\xff\xff\xff\xff\xff")
    with pytest.raises(_handshake.NoAnswer, match="does not speak MQTT"):
        client.log_in()


@pytest.mark.parametrize("websockets", [False, True])
def test_behind_tls(certificate, websockets):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    peers = []

    def serve(listening: socket.socket) -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            if websockets:
                while not connection.recv(65536).endswith(b"\r\n\r\n"):
                    pass
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            peers.append(Peer(connection, websockets, 0))
            peers[0].serve()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        place = {"host": "127.0.0.1", "port": listening.getsockname()[1], "tls": True, "ca_file": certificate[0]}
        protocol = "websockets" if websockets else "mqtt"
        with _raw_client.connected({**place, "protocol": protocol}, 10) as client:
            assert client.log_in("zuul", "p") == 0
            client.listen(time.monotonic() + 0.1)
            # More than one record of TLS
            client.publish("a", b"x" * 100_000, 1)
            client.ping()
            client.leave()
        thread.join(10)
    assert [*client.messages] == [("a", b"x" * 100_000)]
    assert peers[0].packets[-1] == (_raw_client.DISCONNECT << 4, b"")


@pytest.mark.parametrize("kind", [_raw_client.CONNACK, _raw_client.SUBACK, _raw_client.PUBACK, _raw_client.PUBLISH])
def test_an_answer_that_is_cut_short_is_no_mqtt(kind):
    with pytest.raises(_handshake.NoAnswer, match="does not speak MQTT"):
        _raw_client.split(bytearray([kind << 4, 0]))


def test_an_answer_that_comes_together_with_the_end_of_a_websocket():
    """A proxy joins what the broker has sent in two pieces."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = _raw_client.Client(ours, websockets=True, timeout=5)
        rejected = _raw_client.packet(_raw_client.CONNACK, b"\0\5")
        theirs.sendall(bytes([0x82, len(rejected)]) + rejected + bytes([0x88, 2]) + b"\x03\xe8")
        assert client.log_in() == 5
        with pytest.raises(_handshake.NoAnswer, match="ended the connection"):
            client.ping()
