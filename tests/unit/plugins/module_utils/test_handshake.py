# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listeners that do not serve, each in its way. Those that do are real brokers, in the Molecule scenarios."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _handshake


@contextlib.contextmanager
def server(answer: bytes | None):
    """Accept one connection on loopback; send an answer and close, or say nothing until the test is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
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
        ("mqtt", None, "does not answer"),
        ("mqtt", b"HTTP/1.1 400 Bad Request\r\n", "does not speak MQTT"),
        ("websockets", b"HTTP/1.1 200 OK\r\n\r\n", "'HTTP/1.1 200 OK' to a websocket upgrade"),
        ("websockets", b"", "closed the connection"),
        ("websockets", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x02\x03\xe8", "over websockets"),
    ],
)
def test_wrong_answers(protocol, answer, why):
    with server(answer) as port, pytest.raises(_handshake.NoAnswer, match=why):
        _handshake.ask({"host": "127.0.0.1", "port": port, "protocol": protocol}, timeout=0.3)


def test_a_refused_login_is_an_answer():
    with server(b"\x20\x02\x00\x05") as port:
        _handshake.ask({"host": "127.0.0.1", "port": port}, timeout=5)


def test_a_refused_login_is_an_answer_also_if_the_broker_is_gone_right_behind_it(tmp_path, monkeypatch):
    """On a unix socket the client's next word then fails at once."""
    path, receive = str(tmp_path / "socket"), _handshake.receive

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

        def receive_and_wait(connection: socket.socket, count: int, deadline: float) -> bytes:
            data = receive(connection, count, deadline)
            thread.join(10)
            return data

        monkeypatch.setattr(_handshake, "receive", receive_and_wait)
        _handshake.ask({"socket": path}, timeout=5)


@pytest.mark.parametrize("protocol", ["mqtt", "websockets"])
def test_a_trickle_ends_in_time(protocol):
    """Whoever sends a byte now and then has no more time than others."""
    begin, over = time.monotonic(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _address = listening.accept()
            with connection, contextlib.suppress(OSError):
                while not over.wait(0.4) and time.monotonic() < begin + 5:
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        listener = {"host": "127.0.0.1", "port": listening.getsockname()[1], "protocol": protocol}
        with pytest.raises(_handshake.NoAnswer, match="does not answer"):
            _handshake.ask(listener, timeout=0.7)
        over.set()
        thread.join(10)
    assert time.monotonic() - begin < 1.2


def test_the_next_address_is_tried(monkeypatch):
    with server(b"\x20\x02\x00\x00") as port:
        found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", one)) for one in (1, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
        _handshake.ask({"host": "firehose", "port": port}, timeout=5)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.org"])
def test_what_is_no_host(host):
    with pytest.raises(_handshake.NoAnswer, match="no name or address of a host"):
        _handshake.ask({"host": host, "port": 1883}, timeout=1)


def test_nobody_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(_handshake.Closed, match="refused"):
        _handshake.ask({"host": "127.0.0.1", "port": port}, timeout=1)
    with pytest.raises(_handshake.Closed, match="No such file"):
        _handshake.ask({"socket": str(tmp_path / "none")}, timeout=1)
