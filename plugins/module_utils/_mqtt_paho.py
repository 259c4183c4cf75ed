# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Paho's client, versions 1.6 and 2, with two of its private methods overridden that are the same in all of them.

One opens the socket: paho before 2.1 knows no unix sockets, and bounds neither the TLS nor the websocket handshake. The
other one sees each packet before paho does: paho 1.6 keeps the reason codes of acknowledgements to itself, no version
tells that of a PUBREC, and the callbacks differ from version to version.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
import time
import traceback
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _mqtt

PAHO_ERROR: str | None
try:
    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import MQTTException, Properties
except ImportError:
    PAHO_ERROR = traceback.format_exc()
    _Base: t.Any = object
else:
    PAHO_ERROR = None
    _Base = paho.Client
    WEBSOCKET_ERROR = paho.WebsocketConnectionError
    # What paho raises when it cannot read a packet. 2.2 has become stricter, and answers with an error code more often.
    UNREADABLE = (struct.error, LookupError, ValueError, AssertionError, MQTTException)

CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT = 0x20, 0x40, 0x50, 0x70, 0x90, 0xB0, 0xE0


class _Bounded:
    """A socket of a client, which gets to know it, and why TLS broke. While it blocks it does so until a deadline."""

    client: Client
    until: float

    def __new__(cls, *args: t.Any, **kwargs: t.Any) -> t.Any:
        made = super().__new__(cls, *args, **kwargs)
        cls.client.opened.append(made)
        return made

    def settimeout(self, value: float | None) -> None:
        super().settimeout(max(self.until - time.monotonic(), 0.001))

    def recv(self, *args: t.Any) -> bytes:
        if self.gettimeout():  # it does block
            self.settimeout(None)
        try:
            return super().recv(*args)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as exc:
            self.client.errors.append(exc)
            raise

    def send(self, *args: t.Any) -> int:
        try:
            return super().send(*args)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            if self.gettimeout():
                raise
            # Why the other side has closed the connection may still be there to be read, which paho does next.
            raise BlockingIOError from None


def _bounded(base: type, client: Client) -> t.Any:
    return type("Bounded", (_Bounded, base), {"client": client, "until": client.deadline})


def _tls_context(options: t.Mapping[str, t.Any]) -> ssl.SSLContext:
    """The certificates, and what is asked of the broker's."""
    try:
        context = ssl.create_default_context(cafile=options["ca_path"])
    except OSError as exc:
        raise _mqtt.Failure("tls", f"ca_path: {options['ca_path']}: {exc.strerror or exc}") from None
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options["client_cert"]:
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(options["client_cert"], options["client_key"], password="")
        except OSError as exc:
            files = ", ".join(path for path in (options["client_cert"], options["client_key"]) if path)
            raise _mqtt.Failure("tls", f"client_cert, client_key: {files}: {exc.strerror or exc}") from None
    return context


class Client(_Base):
    """Paho's client, which opens its socket itself and remembers what the broker said."""

    options: t.Mapping[str, t.Any]
    opened: list[socket.socket]

    def open(self, deadline: float) -> None:
        """Connect, and do the TLS and the websocket handshake, and send CONNECT. Raises what the layers below raise."""
        self.deadline = deadline
        self.reached = False
        self.errors: list[ssl.SSLError] = []
        self.connack: int | None = None
        self.reason: int | None = None
        self.strange = 0
        self.codes: dict[int, int] = {}
        self.completed: set[int] = set()
        self.subscribed: dict[int, list[int]] = {}
        self.unsubscribed: set[int] = set()
        self.max_qos, self.retain_available = 2, True
        if self.options["tls"]:
            context = _tls_context(self.options)
            context.sslsocket_class = _bounded(ssl.SSLSocket, self)
            self.tls_set_context(context)
            if not self.options["validate_certs"]:
                self.tls_insecure_set(True)
        unix = self.options["transport"] == "unix"
        # To paho a unix socket is a port of this host.
        host, port = ("localhost", 1883) if unix else (self.options["host"], _mqtt.port(self.options))
        self.connect(host, port, self.options["keepalive"])

    def close(self) -> None:
        """Close whatever is open. Paho leaves a socket open when a handshake fails."""
        for connection in self.opened:
            connection.close()

    def certificate(self) -> dict[str, t.Any] | None:
        """What the broker showed, if it was found to be valid. Paho's own socket may be one of websockets, which has no such method."""
        return (
            next((one.getpeercert() for one in reversed(self.opened) if isinstance(one, ssl.SSLSocket)), None) or None
        )

    def _addresses(self) -> list[tuple[t.Any, t.Any]]:
        if self.options["transport"] == "unix":
            return [(socket.AF_UNIX, self.options["socket"])]
        found = socket.getaddrinfo(self.options["host"], _mqtt.port(self.options), type=socket.SOCK_STREAM)
        return [(family, address) for family, _kind, _protocol, _name, address in found]

    def _create_socket_connection(self) -> socket.socket:
        addresses = self._addresses()
        kind = _bounded(socket.socket, self)
        for index, (family, address) in enumerate(addresses):
            connection = kind(family, socket.SOCK_STREAM)
            now = time.monotonic()
            # An address that does not answer leaves time for the next one.
            connection.until = now + (self.deadline - now) / (len(addresses) - index)
            try:
                connection.settimeout(None)
                connection.connect(address)
            except OSError:
                connection.close()
                if index + 1 == len(addresses):
                    raise
            else:
                break
        self.reached = True
        connection.until = self.deadline
        connection.settimeout(None)
        return connection

    def first_byte(self) -> int:
        """What an answer starts with that is none to CONNECT, or has not come to its end."""
        return self.strange or self._in_packet["command"]

    def _take_limits(self, packet: bytes) -> None:
        """What the broker says of itself in a CONNACK. Paho before 2.2 goes on with its own keepalive, and is hung up on."""
        properties = Properties(PacketTypes.CONNACK)
        try:
            properties.unpack(packet[2:])
        except UNREADABLE:
            return  # paho is about to say so
        self._keepalive = getattr(properties, "ServerKeepAlive", self._keepalive)
        self.max_qos = getattr(properties, "MaximumQoS", 2)
        self.retain_available = bool(getattr(properties, "RetainAvailable", 1))

    def _take_acknowledgement(self, kind: int, packet: bytes) -> int:
        """Remember what a packet acknowledges; return the reason code of a PUBACK or a PUBREC."""
        number, code = packet[0] * 256 + packet[1], packet[2] if len(packet) > 2 else 0
        if kind == SUBACK:
            self.subscribed[number] = suback_codes(packet, self.options["protocol_version"])
        elif kind == UNSUBACK:
            self.unsubscribed.add(number)
        elif kind == PUBCOMP:
            self.completed.add(number)
        else:
            self.codes[number] = code
        return code

    def _packet_handle(self) -> int:
        kind, packet = self._in_packet["command"] & 0xF0, bytes(self._in_packet["packet"])
        if self.connack is None:
            if kind != CONNACK or len(packet) < 2:
                self.strange = self._in_packet["command"]
                return paho.MQTT_ERR_PROTOCOL
            self.connack = packet[1]
            if self.connack:
                return paho.MQTT_ERR_SUCCESS  # paho might try again on its own, with an older version
            if self.options["protocol_version"] == "5":
                self._take_limits(packet)
        elif kind in (PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK) and len(packet) >= 2:
            code = self._take_acknowledgement(kind, packet)
            if kind == PUBREC and code >= _mqtt.FIRST_REFUSAL:
                return paho.MQTT_ERR_SUCCESS  # the end of it, while paho would send a PUBREL
        elif kind == DISCONNECT:
            self.reason = packet[0] if packet else 0
            return paho.MQTT_ERR_CONN_LOST  # paho 1.6 might wait for more
        try:
            return super()._packet_handle()
        except UNREADABLE:
            return paho.MQTT_ERR_PROTOCOL


def client(options: t.Mapping[str, t.Any]) -> Client:
    """A client that is not connected yet."""
    settings = {
        "client_id": options["client_id"] or secrets.token_hex(11),
        "protocol": {"3.1.1": paho.MQTTv311, "5": paho.MQTTv5}[options["protocol_version"]],
        "transport": "websockets" if options["transport"] == "websockets" else "tcp",
    }
    if hasattr(paho, "CallbackAPIVersion"):
        settings["callback_api_version"] = paho.CallbackAPIVersion.VERSION2
    made = Client(**settings)
    made.options, made.opened = options, []
    made.ws_set_options(options["websockets_path"])
    if options["username"] is not None:
        made.username_pw_set(options["username"], options["password"])
    return made


def suback_codes(packet: bytes, protocol_version: str) -> list[int]:
    """The codes in a SUBACK, one for each topic filter. Those of MQTT 5 come after properties."""
    if protocol_version != "5":
        return list(packet[2:])
    length = shift = 0
    start = 2
    for byte in packet[2:6]:
        length |= (byte & 0x7F) << shift
        shift += 7
        start += 1
        if not byte & 0x80:
            break
    return list(packet[start + length :])
