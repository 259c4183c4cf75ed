# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transport of MQTT: TCP or a unix socket, TLS, and websockets. Every step has a deadline."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import socket
import ssl
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import frames, packets
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure

# The bind addresses of a listener on every address.
ANY_ADDRESS = ("", "0.0.0.0", "::")
CHUNK = 65536
LONGEST_HEAD = 8192
# The shortest time to wait. With 0 a socket would not block.
INSTANT = 0.001
SILENCE = "it accepted the connection, but gave no answer"


class Closed(Failure):
    """Nothing listens there."""


class WantsCertificate(Failure):
    """The listener requires a client certificate."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """The address of a listener, and its transport."""

    host: str = "localhost"
    port: int = 0
    unix_socket: str | None = None
    # The path of a websockets URL
    path: str | None = None
    tls: ssl.SSLContext | None = None


def own_address(bound_to: str) -> str:
    """The address at which the host itself reaches a listener with this bind address."""
    if bound_to in ANY_ADDRESS:
        return "::1" if bound_to == "::" else "127.0.0.1"
    return bound_to


def endpoint(listener: t.Mapping[str, t.Any]) -> Endpoint:
    """The endpoint of a listener in the roles' format. Its certificate is verified only if there is a ca_file."""
    path = "/mqtt" if listener.get("protocol") == "websockets" else None
    if listener.get("socket"):
        return Endpoint(unix_socket=listener["socket"], path=path)
    context = None
    if listener.get("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if listener.get("ca_file"):
            try:
                context.load_verify_locations(listener["ca_file"])
            except OSError as exc:
                raise Failure("tls", f"ca_file: {listener['ca_file']}: {exc.strerror or exc}") from None
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    return Endpoint(listener["host"], listener["port"], path=path, tls=context)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), INSTANT)


def _reach(family: int, address: t.Any, seconds: float) -> socket.socket:
    wire = socket.socket(family, socket.SOCK_STREAM)
    try:
        wire.settimeout(seconds)
        wire.connect(address)
    except BaseException:
        wire.close()
        raise
    return wire


def _connect(place: Endpoint, deadline: float) -> socket.socket:
    if place.unix_socket:
        addresses: list[tuple[t.Any, t.Any]] = [(socket.AF_UNIX, place.unix_socket)]
    else:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        addresses = [(family, address) for family, _kind, _protocol, _name, address in found]
    *others, last = addresses
    for index, one in enumerate(others):
        # An address that does not answer leaves time for the next one. A host may not support a family.
        with contextlib.suppress(OSError):
            return _reach(*one, _left(deadline) / (len(addresses) - index))
    return _reach(*last, _left(deadline))


def _dial(place: Endpoint, deadline: float) -> socket.socket:
    """Connect, or raise a Failure with the reason."""
    try:
        return _connect(place, deadline)
    except socket.gaierror as exc:
        raise Failure("unreachable", f"the name of the host cannot be resolved: {exc.strerror}") from None
    except socket.timeout:
        raise Failure("no_answer", "no answer") from None
    except (ConnectionRefusedError, FileNotFoundError) as exc:
        raise Closed("unreachable", f"nothing listens there: {exc.strerror}") from None
    except OSError as exc:
        raise Failure("unreachable", f"no connection: {exc.strerror or exc}") from None
    except ValueError as exc:
        raise Failure("unreachable", f"no name or address of a host: {exc}") from None


def _tls_failure(exc: OSError) -> Failure:
    """The error of the ssl module, without the place in its source."""
    reason = getattr(exc, "reason", None) or ""
    words = getattr(exc, "verify_message", None) or reason or exc.strerror or str(exc)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Failure("tls", f"the broker's certificate is not valid: {words}")
    # The listener requires a client certificate. With TLS 1.3 it says so after the handshake.
    kind = WantsCertificate if "CERTIFICATE_REQUIRED" in reason else Failure
    return kind("tls", f"TLS failed: {words}")


def _encrypted(wire: socket.socket, place: Endpoint, deadline: float) -> t.ContextManager[socket.socket]:
    """The same connection, with TLS if the endpoint has TLS."""
    if place.tls is None:
        return contextlib.nullcontext(wire)
    try:
        wire.settimeout(_left(deadline))
        return place.tls.wrap_socket(wire, server_hostname=place.host)
    except socket.timeout:
        raise Failure("no_answer", SILENCE) from None
    except OSError as exc:
        raise _tls_failure(exc) from None


class Connection:
    """A connection that carries MQTT."""

    def __init__(self, wire: socket.socket, place: Endpoint) -> None:
        self.place = place
        self._wire = wire
        self._frames = bytearray()
        self._ended = False

    def upgrade(self, deadline: float) -> None:
        """Upgrade from HTTP to websockets."""
        place, key, head = self.place, base64.b64encode(os.urandom(16)).decode(), bytearray()
        host = f"[{place.host}]" if ":" in place.host else place.host
        self._send(frames.upgrade(f"{host}:{place.port}", place.path or "", key), deadline)
        end = None
        while not end and len(head) < LONGEST_HEAD:
            received = self._read(deadline) if time.monotonic() < deadline else None
            if received is None:
                raise Failure("no_answer", SILENCE)
            if not received:
                break
            head += received
            end = frames.END_OF_HEAD.search(head)
        self._frames += head[end.end() :] if end else b""
        problem = frames.upgrade_problem(bytes(head), key) if end else "it closed the connection, or does not end"
        if problem:
            raise Failure("not_mqtt", f"it does not speak MQTT over websockets at the path {place.path}: {problem}")

    def send(self, data: bytes, deadline: float) -> None:
        """Send packets."""
        self._send(data if self.place.path is None else frames.frame(data), deadline)

    def receive(self, deadline: float) -> bytes | None:
        """The next bytes, in pieces of any length. None if nothing comes before the deadline, empty at the end."""
        if self.place.path is None:
            return self._read(deadline)
        is_late = False
        while not self._ended:
            data = self._unpack(deadline)
            if data or self._ended:
                return data
            # After the deadline it reads only once: the other side may always send more.
            received = None if is_late else self._read(deadline)
            is_late = time.monotonic() >= deadline
            if received is None:
                return None
            self._frames += received
            self._ended = not received
        return b""

    def _unpack(self, deadline: float) -> bytes:
        """The MQTT bytes in the received frames."""
        data = b""
        try:
            found = frames.split(self._frames)
        except packets.Malformed as exc:
            raise Failure("not_mqtt", f"it does not speak MQTT over websockets: {exc}") from None
        for kind, content in found:
            if kind == frames.CLOSE:
                # The bytes before it may be the answer.
                self._ended = True
            elif kind == frames.PING:
                self._send(frames.frame(content, frames.PONG), deadline)
            elif kind in (frames.BINARY, frames.CONTINUATION):
                data += content
        return data

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self._wire.settimeout(_left(deadline))
            self._wire.sendall(data)
        except socket.timeout:
            raise Failure("no_answer", "it takes no more data") from None
        except OSError:
            pass  # The next read may still give the reason why the other side closed.

    def _read(self, deadline: float) -> bytes | None:
        """The bytes that arrive before the deadline, or that are already there after it."""
        try:
            self._wire.settimeout(_left(deadline))
            return self._wire.recv(CHUNK)
        except socket.timeout:
            return None
        except ssl.SSLError as exc:
            raise _tls_failure(exc) from None
        except OSError:
            return b""

    def certificate(self, *, der: bool = False) -> t.Any:
        """The broker's certificate, in DER or, if it was verified, as the ssl module describes it; else None."""
        return (self._wire.getpeercert(der) or None) if isinstance(self._wire, ssl.SSLSocket) else None

    def cut(self) -> None:
        """End the connection without DISCONNECT."""
        try:
            self._wire.shutdown(socket.SHUT_RDWR)
        except OSError:
            raise Failure("lost", "the connection was lost") from None


@contextlib.contextmanager
def opened(place: Endpoint, deadline: float) -> t.Iterator[Connection]:
    """A connection that is ready for MQTT."""
    with _dial(place, deadline) as plain, _encrypted(plain, place, deadline) as wire:
        connection = Connection(wire, place)
        if place.path is not None:
            connection.upgrade(deadline)
        yield connection
