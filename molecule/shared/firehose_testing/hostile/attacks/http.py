# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain HTTP at websocket listeners, and other protocols at MQTT listeners."""

from __future__ import annotations

import itertools

from ..attack import attack
from ..field import Field
from ..target import Listener

HOST = b"Host: firehose\r\n"
REQUESTS = (
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /../../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/systree HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /mqtt HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n" + bytes(4096),
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    b"CONNECT firehose:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(3000)) + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + b"A" * 5000 + b"\r\n\r\n",
    b"\r\n" * 2000,
    b"\0" * 2000,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1883\r\n",
    # the beginning of a TLS handshake
    bytes.fromhex("160301020001" + "0001fc0303") + bytes(507),
)


@attack("plain HTTP", forbidden=True, seconds=3)
async def plain_http(field: Field) -> None:
    """On each port. A successful answer would be some page: that counts as a success of the attack."""

    async def ask(listener: Listener, request: bytes) -> None:
        connection = await field.insist(listener, upgraded=False)
        try:
            await connection.send_raw(request)
            field.tried += 1
            answer = await connection.read_raw(3)
            line = answer.split(b"\r\n")[0].decode("latin-1")[:40]
            field.notes[line if line.startswith("HTTP") else f"{len(answer)} bytes"] += 1
            field.through += " 200 " in f"{line} "
        finally:
            connection.vanish()

    attempts = list(itertools.product(field.target.doors, REQUESTS))
    await field.each(attempts, lambda one: ask(*one))
