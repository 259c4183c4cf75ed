# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that send arbitrary data, over TCP, websockets and TLS."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import socket
import ssl
import typing as t

from . import frames, packets
from .target import Listener

# The number of bytes that all connections together have sent and received, without TLS and TCP.
traffic: collections.Counter[str] = collections.Counter()
# Errors that end a connection, or prevent it.
FAILURES = (OSError, EOFError, asyncio.TimeoutError, ValueError)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Another scenario checks certificates.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def dial(listener: Listener, source: str | None = None, receive_buffer: int | None = None) -> socket.socket:
    """Make a TCP connection, from one of the container's addresses."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    wire = socket.socket(family, socket.SOCK_STREAM)
    try:
        wire.setblocking(False)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            wire.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            wire.bind((source, 0))
        await loop.sock_connect(wire, (listener.host, listener.port))
    except BaseException:
        wire.close()
        raise
    return wire


class Connection:
    """A client of the broker, well-behaved or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framed: bool) -> None:
        self._reader, self._writer, self._framed = reader, writer, framed
        self._data = bytearray()

    async def send(self, data: bytes) -> None:
        """Send MQTT, in a frame if the transport needs one."""
        await self.send_raw(frames.frame(data) if self._framed else data)

    async def send_raw(self, data: bytes) -> None:
        traffic["sent"] += len(data)
        self._writer.write(data)
        await self._writer.drain()

    async def _fill(self) -> None:
        if not self._framed:
            data = await self._reader.read(65536)
            if not data:
                raise EOFError("the other side has hung up")
            traffic["got"] += len(data)
            self._data += data
            return
        first, size = await self._reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        payload = await self._reader.readexactly(size)
        traffic["got"] += size
        if first & 15 == frames.CLOSE:
            raise EOFError("the other side has closed the websocket")
        if first & 15 == frames.PING:
            await self.send_raw(frames.frame(payload, frames.PONG))
        elif first & 15 != frames.PONG:
            self._data += payload

    async def _take(self, count: int) -> bytes:
        while len(self._data) < count:
            await self._fill()
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    async def packet(self) -> packets.Packet:
        """The next packet."""
        first, size, shift = (await self._take(1))[0], 0, 0
        while True:
            byte = (await self._take(1))[0]
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                return packets.Packet(first, await self._take(size))

    async def until(self, kind: int, timeout: float = 10) -> list[packets.Packet]:
        """All packets up to the first of a kind."""
        got = []

        async def collect() -> None:
            while not got or got[-1].kind != kind:
                got.append(await self.packet())

        await asyncio.wait_for(collect(), timeout)
        return got

    async def drain(self, seconds: float) -> list[packets.Packet]:
        """All data of some seconds, or until the end."""
        got: list[packets.Packet] = []

        async def collect() -> None:
            while True:
                got.append(await self.packet())

        with contextlib.suppress(*FAILURES):
            await asyncio.wait_for(collect(), seconds)
        return got

    async def read_raw(self, seconds: float) -> bytes:
        """The first data within some seconds, of any kind."""
        return await asyncio.wait_for(self._reader.read(65536), seconds)

    async def read_to_end(self, seconds: float) -> None:
        """Send nothing more, and read until the other side closes the connection too."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        await asyncio.wait_for(self._reader.read(), seconds)

    def pause(self) -> None:
        """Stop reading."""
        self._writer.transport.pause_reading()

    def vanish(self) -> None:
        """Cut the connection without a DISCONNECT."""
        self._writer.transport.abort()


async def connect(
    listener: Listener,
    source: str | None = None,
    receive_buffer: int | None = None,
    timeout: float = 10,
    upgraded: bool = True,
    subprotocol: str = "mqtt",
) -> Connection:
    """Connect, up to the start of MQTT. With `upgraded` false a websocket listener stays at HTTP."""
    return await asyncio.wait_for(_connect(listener, source, receive_buffer, upgraded, subprotocol), timeout)


async def _connect(
    listener: Listener, source: str | None, receive_buffer: int | None, upgraded: bool, subprotocol: str
) -> Connection:
    wire = await dial(listener, source, receive_buffer)
    try:
        options: dict[str, t.Any] = {"ssl": _context(), "server_hostname": ""} if listener.tls else {}
        reader, writer = await asyncio.open_connection(sock=wire, **options)
    except BaseException:
        wire.close()
        raise
    framed = listener.transport == "websockets" and upgraded
    try:
        if framed:
            writer.write(frames.upgrade(listener.host, subprotocol=subprotocol))
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in answer.split(b"\r\n")[0] + b" ":
                raise ConnectionError(f"{listener} answered {answer[:60]!r}")
    except BaseException:
        writer.transport.abort()
        raise
    return Connection(reader, writer, framed)


async def log_in(connection: Connection, version: int, connect_packet: bytes, filters: t.Sequence[str] = ()) -> None:
    """Log in and subscribe."""
    await connection.send(connect_packet)
    answer = (await connection.until(packets.CONNACK))[-1]
    if answer.body[1]:
        raise ConnectionError(f"the broker rejects with {answer.body[1]}")
    if filters:
        await connection.send(packets.subscribe(version, filters))
