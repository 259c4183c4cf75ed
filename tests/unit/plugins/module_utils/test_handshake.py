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


def test_nobody_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(_handshake.Closed, match="refused"):
        _handshake.ask({"host": "127.0.0.1", "port": port}, timeout=1)
    with pytest.raises(_handshake.Closed, match="No such file"):
        _handshake.ask({"socket": str(tmp_path / "none")}, timeout=1)
