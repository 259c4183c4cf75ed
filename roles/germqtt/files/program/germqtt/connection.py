# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to the broker: paho-mqtt 1.6 or 2, served by asyncio's loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import typing as t

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from . import config

# Seconds. paho itself gives up connecting after five, but not looking for the host's name.
CONNECT_TIMEOUT = 20
UNSUPPORTED_VERSION = (1, 0x84)  # as MQTT 3.1.1 and MQTT 5 say it
# The reason codes of PUBACK (MQTT 5, 3.4.2.1), and 0x95, which Mosquitto sends although the standard has it elsewhere.
PUBACK_REASONS = {
    0x00: "Success",
    0x10: "No matching subscribers",
    0x80: "Unspecified error",
    0x83: "Implementation specific error",
    0x87: "Not authorized",
    0x90: "Topic name invalid",
    0x91: "Packet identifier in use",
    0x95: "Packet too large",
    0x97: "Quota exceeded",
    0x99: "Payload format invalid",
}
FIRST_FAILURE = 0x80
# Seconds that the broker keeps germqtt's session for, with its marker.
SESSION_EXPIRY = 24 * 60 * 60
LARGEST_PACKET = 268435455 + 5  # MQTT's longest body and its header


class RefusedError(Exception):
    """The broker's answer to CONNECT."""

    def __init__(self, reason: t.Any) -> None:
        super().__init__(paho.connack_string(reason) if isinstance(reason, int) else str(reason))
        self.speaks_older = _code(reason) in UNSUPPORTED_VERSION


class _Client(paho.Client):
    """Reads the reason code of PUBACK itself: paho 1.6 does not pass it on, and paho 2 fails at 0x95.

    It acknowledges a message when it is told to, which paho 1.6 cannot.
    """

    puback_code = 0

    def _send_puback(self, mid: int) -> t.Any:
        return paho.MQTT_ERR_SUCCESS

    def acknowledge(self, mid: int) -> None:
        super()._send_puback(mid)

    def _handle_pubackcomp(self, cmd: t.Any) -> t.Any:
        packet = self._in_packet
        self.puback_code = (packet["packet"][2:3] or b"\0")[0]
        if self.puback_code not in PUBACK_REASONS:
            raise ValueError(f"PUBACK with reason code {self.puback_code:#04x}")
        packet["packet"], packet["remaining_length"] = packet["packet"][:2], min(packet["remaining_length"], 2)
        return super()._handle_pubackcomp(cmd)


def _code(reason: t.Any) -> int:
    """The number of a reason, which is an object in paho 2 and with MQTT 5, and else the number itself."""
    return getattr(reason, "value", reason)


def _why(about: t.Iterable[t.Any]) -> str:
    """The reason among the arguments of on_disconnect: a number or an object, before the properties or last."""
    said = [paho.error_string(one) if isinstance(one, int) else str(one) for one in about if one is not None]
    return (said[-2:-1] or said)[0]


class Connection:
    """Connects once. `ended` is done, with the reason, when there is no connection any more."""

    def __init__(self, options: config.Mqtt, client_id: str, protocol: int) -> None:
        self._options = options
        made = {"client_id": client_id, "protocol": protocol, "reconnect_on_failure": False}
        self._has_properties = protocol == paho.MQTTv5
        if not self._has_properties:
            made["clean_session"] = not options.republish_max
        if hasattr(paho, "CallbackAPIVersion"):
            self._client = _Client(paho.CallbackAPIVersion.VERSION2, **made)
        else:
            self._client = _Client(**made)
        self._client.max_inflight_messages_set(0)  # the publisher sees to that
        if options.username:
            self._client.username_pw_set(options.username, options.password or None)
        if options.tls:
            self._client.tls_set(str(options.ca_file) if options.ca_file else None)
        loop = asyncio.get_running_loop()
        self._closed = False
        self._answer: asyncio.Future[t.Any] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        # How many messages the broker wants to have unacknowledged at most.
        self.receive_maximum = 65535
        # The largest packet in bytes that the broker accepts, as far as it announces that.
        self.maximum_packet = LARGEST_PACKET
        self.on_acknowledged: t.Callable[[int, int, str], None] = lambda _number, _code, _reason: None
        self.on_message: t.Callable[[int, bytes], None] = lambda _number, _payload: None
        self._client.on_message = lambda _client, _data, message: self.on_message(message.mid, message.payload)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda _client, _data, *about: self.end(f"hung up: {_why(about)}")
        self._client.on_publish = self._on_publish
        self._client.on_socket_open = self._on_socket_open

    def _on_socket_open(self, _client: t.Any, _data: t.Any, sock: t.Any) -> None:
        """In another thread: if that took so long that nobody waits for it any more, the broker must not hear of us twice."""
        if self._closed:
            sock.close()
            raise ConnectionAbortedError
        # Else an event waits until the broker has confirmed the packet before it, which it does late if it has no answer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, _client: t.Any, _data: t.Any, _flags: t.Any, reason: t.Any, properties: t.Any = None) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self.maximum_packet = getattr(properties, "MaximumPacketSize", self.maximum_packet)
        if not self._answer.done():
            self._answer.set_result(reason)

    def _on_publish(self, client: _Client, _data: t.Any, number: int, *_about: t.Any) -> None:
        self.on_acknowledged(number, client.puback_code, PUBACK_REASONS[client.puback_code])

    async def open(self, will_topic: str, will: bytes) -> None:
        """Connect. Raises OSError, TimeoutError or RefusedError."""
        client, loop = self._client, asyncio.get_running_loop()
        client.will_set(will_topic, will, qos=1, retain=True)
        where = self._options.hostname, self._options.port, self._options.keepalive
        session: dict[str, t.Any] = {}
        if self._options.republish_max and self._has_properties:
            session = {"clean_start": False, "properties": Properties(PacketTypes.CONNECT)}
            session["properties"].SessionExpiryInterval = SESSION_EXPIRY
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await loop.run_in_executor(None, functools.partial(client.connect, *where, **session))
            self._serve()
            await asyncio.wait([self._answer, self.ended], return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            raise ConnectionError(self.ended.result())
        if _code(self._answer.result()) != 0:
            raise RefusedError(self._answer.result())

    def _serve(self) -> None:
        """Have asyncio's loop read and write, in place of paho's own."""
        client, loop, sock = self._client, asyncio.get_running_loop(), self._client.socket()
        if sock is None:
            return
        client.on_socket_close = lambda *_args: self._forget(sock)
        client.on_socket_register_write = lambda *_args: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = lambda *_args: loop.remove_writer(sock)
        loop.add_reader(sock, self._read, sock)
        if client.want_write():
            loop.add_writer(sock, client.loop_write)

    @staticmethod
    def _forget(sock: t.Any) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        loop.remove_writer(sock)

    def _read(self, sock: t.Any) -> None:
        try:
            self._client.loop_read()
            # What TLS has decrypted already, the loop knows nothing of.
            while isinstance(sock, ssl.SSLSocket) and not self.ended.done() and sock.pending():
                self._client.loop_read()
        except Exception as exc:  # paho has many for packets that are none
            self.end(f"said what nobody understands: {exc!r}")

    def packet_size(self, topic: str, payload: bytes) -> int:
        """The size in bytes of the packet that publish() sends."""
        # The topic and its length, the packet identifier, the length of the properties, and the payload.
        body = 2 + len(topic.encode()) + 2 + self._has_properties + len(payload)
        length_bytes = 1 + (body >= 128) + (body >= 128**2) + (body >= 128**3)
        return 1 + length_bytes + body

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """Send at QoS 1; return the number by which the broker will acknowledge the message."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def subscribe(self, topic: str) -> None:
        """Have messages at QoS 1, which on_message gets and acknowledge() acknowledges."""
        self._client.subscribe(topic, 1)

    def acknowledge(self, number: int) -> None:
        self._client.acknowledge(number)

    def flush(self) -> None:
        """Write what is there to be written, without waiting for the loop's next turn."""
        self._client.loop_write()

    def tick(self) -> None:
        """Ask the broker whether it is there, if it has been silent for too long. Once in a second."""
        self._client.loop_misc()

    def end(self, problem: str) -> None:
        """Say why there is no connection any more; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(problem)

    def close(self, politely: bool = False) -> None:
        """Hang up. The broker publishes the will unless that is done politely."""
        client, was_closed, self._closed = self._client, self._closed, True
        if was_closed:
            return
        if client.socket() and politely:
            client.disconnect()
            client.loop_write()
        if sock := client.socket():
            self._forget(sock)
            with contextlib.suppress(OSError):
                sock.close()
        # Or the client would call them for a socket that is closed, when it is collected.
        client.on_socket_close = client.on_socket_register_write = client.on_socket_unregister_write = None
