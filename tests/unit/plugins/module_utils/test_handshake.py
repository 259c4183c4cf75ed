# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listeners that do not serve, each in its way. Those that do are real brokers, in the Molecule scenarios."""

from __future__ import annotations

import contextlib
import socket
import threading

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
    path, receive = str(tmp_path / "socket"), _handshake._receive

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

        def receive_and_wait(connection: socket.socket, count: int) -> bytes:
            data = receive(connection, count)
            thread.join(10)
            return data

        monkeypatch.setattr(_handshake, "_receive", receive_and_wait)
        _handshake.ask({"socket": path}, timeout=5)


def test_nobody_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(_handshake.Closed, match="refused"):
        _handshake.ask({"host": "127.0.0.1", "port": port}, timeout=1)
    with pytest.raises(_handshake.Closed, match="No such file"):
        _handshake.ask({"socket": str(tmp_path / "none")}, timeout=1)
