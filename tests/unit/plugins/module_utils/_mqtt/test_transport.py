# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listeners that fail in different ways. Working ones are real brokers, in the Molecule scenarios."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client, frames, packets, transport


@contextlib.contextmanager
def server(answer: bytes | None, context: ssl.SSLContext | None = None):
    """Accept one connection on loopback; send an answer and close, or send nothing until the test is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve() -> None:
            connection, _address = listening.accept()
            with (
                contextlib.suppress(OSError),
                connection if context is None else context.wrap_socket(connection, True) as connection,
            ):
                connection.recv(1024)
                if answer is None:
                    over.wait(10)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join(10)


@pytest.mark.parametrize(
    ("protocol", "answer", "why"),
    [
        ("mqtt", b"", "closed the connection"),
        ("mqtt", None, "gave no answer"),
        ("mqtt", b"HTTP/1.1 400 Bad Request\r\n", "not with MQTT"),
        ("websockets", b"HTTP/1.1 200 OK\r\n\r\n", "'HTTP/1.1 200 OK' to a websocket upgrade"),
        ("websockets", b"", "closed the connection"),
        ("websockets", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x02\x03\xe8", "over websockets .* another key"),
    ],
)
def test_wrong_answers(protocol, answer, why):
    with server(answer) as port, pytest.raises(transport.Failure, match=why):
        client.ask({"host": "127.0.0.1", "port": port, "protocol": protocol}, timeout=0.3)


def test_a_rejected_login_is_an_answer():
    with server(b"\x20\x02\x00\x05") as port:
        client.ask({"host": "127.0.0.1", "port": port}, timeout=5)


def test_a_rejected_login_before_a_disconnect_is_an_answer(tmp_path, monkeypatch):
    """On a unix socket the client's next write then fails at once."""
    path, receive = str(tmp_path / "socket"), transport.Connection.receive

    def serve(listening: socket.socket) -> None:
        connection, _address = listening.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"\x20\x02\x00\x05")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()

        def receive_and_wait(connection: transport.Connection, deadline: float) -> bytes | None:
            data = receive(connection, deadline)
            thread.join(10)
            return data

        monkeypatch.setattr(transport.Connection, "receive", receive_and_wait)
        client.ask({"socket": path}, timeout=5)


@pytest.mark.parametrize("protocol", ["mqtt", "websockets"])
def test_a_slow_answer_does_not_extend_the_timeout(protocol):
    """A server that sends a byte now and then gets no more time than others."""
    begin, over = time.monotonic(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _address = listening.accept()
            with connection, contextlib.suppress(OSError):
                for byte in b"\x20\x7f" + b"x" * 10:  # might become a CONNACK
                    if over.wait(0.4):
                        break
                    connection.sendall(bytes([byte]))

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        listener = {"host": "127.0.0.1", "port": listening.getsockname()[1], "protocol": protocol}
        with pytest.raises(transport.Failure, match="no answer"):
            client.ask(listener, timeout=0.7)
        over.set()
        thread.join(10)
    assert time.monotonic() - begin < 1.2


def websocket(data: bytes, wire: Busy | None = None) -> transport.Connection:
    """A connection over websockets with received data."""
    connection = transport.Connection(wire, transport.Endpoint(path="/mqtt"))
    connection._frames += data
    return connection


class Busy:
    """A socket that has data to read for some seconds."""

    def __init__(self, data: bytes) -> None:
        self.data, self.end = data, time.monotonic() + 3

    def settimeout(self, _seconds: float) -> None:
        pass

    def sendall(self, _data: bytes) -> None:
        pass

    def recv(self, _count: int) -> bytes:
        time.sleep(0.001)
        if time.monotonic() > self.end:
            raise TimeoutError
        return self.data


@pytest.mark.parametrize(
    ("first", "more"),
    [(b"", frames.frame(b"", frames.PONG, masked=False)), (b"\x82\x7f" + bytes(4) + b"\x0f" * 4, b"x")],
)
def test_endless_frames_do_not_extend_the_timeout(first, more):
    """Neither frames without content nor the fragments of a long message extend the time limit."""
    begin = time.monotonic()
    assert websocket(first, Busy(more)).receive(begin + 0.2) is None
    assert 0.2 <= time.monotonic() - begin < 1


def test_an_endless_header_does_not_extend_the_timeout():
    begin = time.monotonic()
    with pytest.raises(transport.Failure, match="gave no answer"):
        websocket(b"", Busy(b"x")).upgrade(begin + 0.2)
    assert 0.2 <= time.monotonic() - begin < 1


def test_an_oversized_frame_is_rejected_at_once():
    whole = frames.frame(b"whole", masked=False)
    connection = websocket(whole + b"\x82\x7f" + (packets.LONGEST_PACKET + 1).to_bytes(8, "big"))
    assert connection.receive(0) == b"whole"
    with pytest.raises(transport.Failure, match=r"websockets: a frame has more than 268435460 bytes") as caught:
        connection.receive(0)
    assert caught.value.cause == "not_mqtt"


@contextlib.contextmanager
def websocket_server(pause: float, behind: bytes):
    """Upgrade a connection after some seconds; data after the upgrade is sent together with it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                [key] = re.findall("Sec-WebSocket-Key: (.+)\r\n", connection.recv(4096).decode())
                time.sleep(pause)
                head = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {frames.accept(key)}\r\n\r\n"
                connection.sendall(head.encode() + behind)
                over.wait(10)

        threading.Thread(target=serve, daemon=True).start()
        yield {"host": "127.0.0.1", "port": listening.getsockname()[1], "protocol": "websockets"}
        over.set()


def test_a_frame_together_with_the_upgrade():
    with websocket_server(0, frames.frame(b"\x20\x02\x00\x05", masked=False)) as listener:
        client.ask(listener, timeout=5)


def test_all_steps_share_the_time():
    begin = time.monotonic()
    with websocket_server(0.5, b"") as listener, pytest.raises(transport.Failure, match="gave no answer"):
        client.ask(listener, timeout=0.7)
    assert time.monotonic() - begin < 1.1


def test_the_next_address_is_tried(monkeypatch):
    """If the first refuses the connection. An address that does not answer leaves time for the next one."""
    with (
        server(b"\x20\x02\x00\x00") as port,
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        contextlib.ExitStack() as stack,
    ):
        for _number in range(3):  # more than its queue holds, so that it does not answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        addresses = [("127.0.0.1", 1), full.getsockname(), ("127.0.0.1", port)]
        # The first has an address family that the host does not support.
        found = [(-2, 1, 6, "", addresses[0]), *((socket.AF_INET, 1, 6, "", address) for address in addresses)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
        client.ask({"host": "firehose", "port": port}, timeout=2)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.org"])
def test_an_invalid_host(host):
    with pytest.raises(transport.Failure, match="no name or address of a host"):
        client.ask({"host": host, "port": 1883}, timeout=1)


def test_nothing_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(transport.Closed, match="refused"):
        client.ask({"host": "127.0.0.1", "port": port}, timeout=1)
    with pytest.raises(transport.Closed, match="No such file"):
        client.ask({"socket": str(tmp_path / "none")}, timeout=1)


@pytest.fixture
def context(certificate):
    """The TLS context of a server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    return made


def test_the_certificate_of_a_tls_listener_is_returned(context, certificate):
    shown = ssl.PEM_cert_to_DER_cert(certificate[0].read_text())
    for verified in ({}, {"ca_file": certificate[0]}):
        with server(b"\x20\x02\x00\x05", context) as port:
            assert client.ask({"host": "127.0.0.1", "port": port, "tls": True, **verified}, timeout=5) == shown


def test_a_required_client_certificate_is_an_answer(context, certificate):
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate[0])
    with server(b"", context) as port:
        assert client.ask({"host": "127.0.0.1", "port": port, "tls": True}, timeout=5)


@pytest.mark.parametrize("answer", [b"", None, b"HTTP/1.1 400 Bad Request\r\n"])
def test_wrong_answers_with_tls(context, answer):
    with server(answer, context) as port, pytest.raises(transport.Failure, match=r"closed|no answer|not with MQTT"):
        client.ask({"host": "127.0.0.1", "port": port, "tls": True}, timeout=0.5)


def test_an_invalid_certificate(context, certificate, tmp_path):
    with server(None, context) as port, pytest.raises(transport.Failure, match=r"not valid: .*mismatch"):
        client.ask({"host": "localhost", "port": port, "tls": True, "ca_file": certificate[0]}, timeout=5)
    with pytest.raises(transport.Failure, match=r"ca_file: .*none: No such file"):
        client.ask({"host": "127.0.0.1", "port": 1, "tls": True, "ca_file": tmp_path / "none"}, timeout=5)


@pytest.mark.parametrize(
    ("answer", "why"), [(b"SSH-2.0-OpenSSH\r\n", "TLS failed: "), (b"", "TLS failed: "), (None, "no answer")]
)
def test_a_server_without_tls(answer, why):
    with server(answer) as port, pytest.raises(transport.Failure, match=why):
        client.ask({"host": "127.0.0.1", "port": port, "tls": True}, timeout=0.5)
