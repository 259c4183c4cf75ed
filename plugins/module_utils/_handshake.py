# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Ask an MQTT listener whether it serves: one CONNECT, and whatever answer the broker gives.

A managed host has no MQTT library, and the answer "not authorised" is as good here as any: so this is the few bytes of
MQTT 3.1.1 (section 3.1) and of RFC 6455 that the question takes.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import time
import typing as t

CONNECT = bytes([0x10, 12, 0, 4]) + b"MQTT" + bytes([4, 0x02, 0, 10, 0, 0])
DISCONNECT = bytes([0xE0, 0])
CONNACK = 0x20
BINARY = 2
# What a listener is bound to that takes every address.
ANY_ADDRESS = ("", "0.0.0.0", "::")


class NoAnswer(Exception):
    """The listener does not serve; the message says in which way."""


class Closed(NoAnswer):
    """Nobody listens there."""


class WantsCertificate(NoAnswer):
    """It serves those who show a certificate."""


def own_address(bound_to: str) -> str:
    """Where the host itself reaches a listener that is bound to an address, or to every one."""
    if bound_to in ANY_ADDRESS:
        return "::1" if bound_to == "::" else "127.0.0.1"
    return bound_to


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left


def receive(connection: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        # Whoever sends a byte now and then has no more time than others.
        connection.settimeout(_left(deadline))
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise NoAnswer(
                "it closed the connection without an answer (it does so when its max_connections are in use)"
            )
        data += chunk
    return data


def say(connection: socket.socket, data: bytes) -> None:
    """Send, even if the other side is gone: why it has gone may still be there to be read, which comes next."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
        connection.sendall(data)


def _upgrade(connection: socket.socket, host: str, deadline: float) -> None:
    """Turn an HTTP connection into a websocket one."""
    key = base64.b64encode(os.urandom(16)).decode()
    say(
        connection,
        f"GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".encode(),
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and len(answer) < 8192:
        answer += receive(connection, 1, deadline)
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if " 101 " not in f"{status} ":
        raise NoAnswer(f"it answered {status!r} to a websocket upgrade")


def frame(payload: bytes, kind: int = BINARY) -> bytes:
    """A masked websocket frame. The mask is zero: it hides nothing from anyone here."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    return bytes([0x80 | kind]) + size + bytes(4) + payload


def _encrypted(connection: socket.socket, listener: dict, deadline: float) -> ssl.SSLSocket:
    """The same connection with TLS. Whether the certificate is valid, and for this host, is asked only where there is a ca_file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if listener.get("ca_file"):
        try:
            context.load_verify_locations(listener["ca_file"])
        except OSError as exc:
            raise NoAnswer(f"ca_file: {listener['ca_file']}: {exc.strerror or exc}") from None
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    connection.settimeout(_left(deadline))
    return context.wrap_socket(connection, server_hostname=listener["host"])


def _addresses(listener: dict) -> list[tuple[t.Any, t.Any]]:
    if listener.get("socket"):
        return [(socket.AF_UNIX, listener["socket"])]
    found = socket.getaddrinfo(listener["host"], listener["port"], type=socket.SOCK_STREAM)
    return [(family, address) for family, _kind, _protocol, _name, address in found]


def _connect(listener: dict, deadline: float) -> socket.socket:
    addresses = _addresses(listener)
    for index, (family, address) in enumerate(addresses, 1):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            # An address that does not answer leaves time for the next one.
            connection.settimeout(_left(deadline) / (len(addresses) - index + 1))
            connection.connect(address)
        except OSError:
            connection.close()
            if index == len(addresses):
                raise
        else:
            break
    return connection


@contextlib.contextmanager
def told() -> t.Iterator[None]:
    """What goes wrong with a connection is NoAnswer."""
    try:
        yield
    except ssl.SSLError as exc:
        reason = getattr(exc, "verify_message", None) or exc.reason or exc.strerror
        what = "its certificate is not valid" if isinstance(exc, ssl.SSLCertVerificationError) else "TLS failed"
        # The broker's word that it serves, but nobody without a certificate. With TLS 1.3 it comes behind the handshake.
        kind = WantsCertificate if "CERTIFICATE_REQUIRED" in (exc.reason or "") else NoAnswer
        raise kind(f"{what}: {reason}") from None
    except socket.timeout:
        raise NoAnswer("it does not answer") from None
    except (ConnectionRefusedError, FileNotFoundError) as exc:
        raise Closed(f"nobody listens there: {exc.strerror}") from None
    except OSError as exc:
        raise NoAnswer(f"no connection: {exc.strerror or exc}") from None
    except ValueError as exc:
        raise NoAnswer(f"no name or address of a host: {exc}") from None


@contextlib.contextmanager
def opened(listener: dict, deadline: float) -> t.Iterator[socket.socket]:
    """A connection on which MQTT can be spoken, behind TLS and a websocket upgrade. What goes wrong with it is NoAnswer."""
    with told(), _connect(listener, deadline) as plain:
        tls = listener.get("tls")
        with _encrypted(plain, listener, deadline) if tls else contextlib.nullcontext(plain) as connection:
            connection.settimeout(_left(deadline))
            if listener.get("protocol") == "websockets":
                _upgrade(connection, listener["host"], deadline)
            yield connection


def ask(listener: dict, timeout: float) -> bytes | None:
    """Return if the listener answers as an MQTT broker within the timeout (seconds), else raise NoAnswer.

    What is returned is the certificate (DER) of a listener with TLS, and else None.
    """
    websockets = listener.get("protocol") == "websockets"
    deadline = time.monotonic() + timeout
    certificate = None
    with contextlib.suppress(WantsCertificate), opened(listener, deadline) as connection:
        if isinstance(connection, ssl.SSLSocket):
            certificate = connection.getpeercert(binary_form=True)
        say(connection, frame(CONNECT) if websockets else CONNECT)
        header = receive(connection, 2, deadline) if websockets else b""
        if websockets and header[0] != 0x82:
            raise NoAnswer("it does not speak MQTT over websockets")
        if receive(connection, 4, deadline)[0] != CONNACK:
            raise NoAnswer("it does not speak MQTT")
        say(connection, frame(DISCONNECT) if websockets else DISCONNECT)
    return certificate
