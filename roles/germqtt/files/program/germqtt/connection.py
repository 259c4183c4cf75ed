# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to the broker, over TCP or TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets, reasons

from . import config

# Seconds, from the lookup of the host's name to the broker's answer.
CONNECT_TIMEOUT = 20
# Seconds for which the broker keeps germqtt's session, with its marker.
SESSION_EXPIRY = 24 * 60 * 60
FIRST_FAILURE = reasons.FIRST_REFUSAL


class RejectedError(Exception):
    """A CONNECT that the broker has rejected."""

    def __init__(self, code: int) -> None:
        super().__init__(reasons.connack(code))
        self.speaks_older = code in reasons.UNSUPPORTED_VERSION


class Connection(asyncio.Protocol):
    """One connection. `ended` is done, with the reason, when the connection has ended."""

    def __init__(self, options: config.Mqtt, client_id: str, version: str) -> None:
        self._options, self._client_id, self._level = options, client_id, packets.LEVELS[version]
        self._context = ssl.create_default_context(cafile=options.ca_file) if options.tls else None
        self._transport: asyncio.WriteTransport | None = None
        self._received, self._to_send = bytearray(), bytearray()
        # The keepalive in seconds, and the time of the last ping while it has no answer
        self._keepalive, self._pinged = options.keepalive, 0.0
        self._sent = self._heard = time.monotonic()
        self._identifier = 0
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Maximum number of unacknowledged messages that the broker accepts.
        self.receive_maximum = 65535
        # The largest packet in bytes that the broker accepts, if it announces a limit.
        self.maximum_packet = packets.LONGEST_PACKET
        self.on_acknowledged: t.Callable[[int, int, str], None] = lambda _number, _code, _reason: None
        self.on_message: t.Callable[[int, bytes], None] = lambda _number, _payload: None

    async def open(self, will_topic: str, will: bytes) -> None:
        """Connect. Raises OSError, TimeoutError or RejectedError."""
        options, keeps_session = self._options, bool(self._options.republish_max)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().create_connection(
                lambda: self, options.hostname, options.port, ssl=self._context
            )
            self._send(
                packets.connect(
                    self._level,
                    self._client_id,
                    options.username or None,
                    options.password or None,
                    keepalive=options.keepalive,
                    will=packets.Message(will_topic, will, qos=1, retain=True),
                    clean=not keeps_session,
                    properties=[(packets.SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY)] if keeps_session else [],
                )
            )
            self.flush()
            await asyncio.wait([self._answer, self.ended], return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            raise ConnectionError(self.ended.result())
        if self._answer.result():
            raise RejectedError(self._answer.result())

    # ---- called by asyncio ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"hung up: {exc or 'the connection was lost'}")

    def data_received(self, data: bytes) -> None:
        self._heard, self._pinged = time.monotonic(), 0.0
        self._received += data
        try:
            for packet in packets.split(self._received):
                self._take(packet)
        except packets.Malformed as exc:
            self.end(f"said what nobody understands: {exc}")

    def _take(self, packet: packets.Packet) -> None:
        if self.ended.done():
            return
        if packet.kind == packets.CONNACK:
            self._take_answer(packet)
        elif packet.kind == packets.PUBACK:
            number, [code] = packets.read_acknowledgement(self._level, packet)
            if code not in reasons.REASON_CODES:
                raise packets.Malformed(f"PUBACK with reason code {code:#04x}")
            self.on_acknowledged(number, code, reasons.reason(code))
        elif packet.kind == packets.PUBLISH:
            message, number = packets.read_publish(self._level, packet)
            self.on_message(number, message.payload)
        elif packet.kind == packets.DISCONNECT:
            self.end(f"hung up: {reasons.reason(packet.body[0] if packet.body else 0)}")
        elif packet.kind not in (packets.SUBACK, packets.PINGRESP):
            raise packets.Malformed(f"a packet of kind {packet.kind}")

    def _take_answer(self, packet: packets.Packet) -> None:
        code, properties = packets.read_connack(self._level, packet)
        self.receive_maximum = properties.get(packets.RECEIVE_MAXIMUM, self.receive_maximum)
        self.maximum_packet = properties.get(packets.MAXIMUM_PACKET_SIZE, self.maximum_packet)
        self._keepalive = properties.get(packets.SERVER_KEEP_ALIVE, self._keepalive)
        if not self._answer.done():
            self._answer.set_result(code)

    # ---- called by the publisher ------------------------------------------------------------------------------------

    def packet_size(self, topic: str, payload: bytes) -> int:
        """The size in bytes of the packet that publish() sends."""
        return len(packets.publish(self._level, packets.Message(topic, payload, 1), 1))

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """Send at QoS 1; return the packet identifier that the broker will acknowledge."""
        number = self._next()
        self._send(packets.publish(self._level, packets.Message(topic, payload, 1, retain), number))
        return number

    def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1. on_message gets the messages, and acknowledge() acknowledges them."""
        self._send(packets.subscribe(self._level, self._next(), [topic], 1))

    def acknowledge(self, number: int) -> None:
        """Acknowledge a message. A message that was sent at QoS 0 has no number."""
        if number:
            self._send(packets.acknowledge(packets.PUBACK, number))

    def flush(self) -> None:
        """Write the queued packets in one piece. asyncio buffers data that the broker does not read yet."""
        data, self._to_send = self._to_send, bytearray()
        if data and self._transport and not self._transport.is_closing():
            self._transport.write(data)
            self._sent = time.monotonic()

    def tick(self) -> None:
        """Ping the broker if either side has been silent for the keepalive. Called once a second."""
        now = time.monotonic()
        if self._pinged and now - self._pinged >= self._keepalive:
            self.end("silent: it did not answer a ping")
        elif not self._pinged and 0 < self._keepalive <= now - min(self._sent, self._heard):
            self._pinged = now
            self._send(packets.packet(packets.PINGREQ))

    def end(self, problem: str) -> None:
        """Set the reason why the connection has ended; the first one counts."""
        if not self.ended.done():
            self.ended.set_result(problem)

    def close(self, politely: bool = False) -> None:
        """Close the connection. The broker publishes the will, unless this is done politely."""
        transport, self._transport = self._transport, None
        if not transport:
            return
        if politely:
            transport.write(bytes(self._to_send) + packets.packet(packets.DISCONNECT))
        if politely and not transport.get_write_buffer_size():
            transport.close()
        else:
            transport.abort()

    def _next(self) -> int:
        self._identifier = self._identifier % 0xFFFF + 1
        return self._identifier

    def _send(self, packet: bytes) -> None:
        if not self._to_send:
            asyncio.get_running_loop().call_soon(self.flush)
        self._to_send += packet
