# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""An MQTT client, 3.1.1 or 5, in the calling thread. Every step ends within its timeout, or raises a Failure.

It needs no library: paho-mqtt 1.6 of Debian 12 cannot connect to unix sockets, and does not return reason codes.
"""

from __future__ import annotations

import collections
import contextlib
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets, reasons, transport
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure

# Mosquitto may reject clients with a keepalive above its max_keepalive, which is at least 10.
KEEPALIVE = 10
ACKNOWLEDGEMENTS = (packets.PUBACK, packets.PUBREC, packets.PUBCOMP, packets.SUBACK, packets.UNSUBACK)
# The first byte of the answer of a listener with TLS to a client without
TLS_ALERT = 0x15


class Client:
    """One connection of a client. Its login ends an earlier session."""

    def __init__(
        self,
        connection: transport.Connection,
        timeout: float,
        *,
        login_deadline: float | None = None,
        version: str = "3.1.1",
        keepalive: int = KEEPALIVE,
    ) -> None:
        """Set the timeout for each answer. The answer to the login has its own deadline, if there is one."""
        self.messages: collections.deque[Message] = collections.deque()
        # The limits of the broker, as far as it tells them
        self.max_qos, self.retain_available, self.max_size = 2, True, packets.LONGEST_PACKET
        self.connection = connection
        self._timeout, self._login_deadline = timeout, login_deadline
        self._level, self._keepalive = packets.LEVELS[version], keepalive
        self._data = bytearray()
        self._code: int | None = None
        self._answers: dict[tuple[int, int], bytes] = {}
        self._identifier = self._pings = 0
        # Identifiers of messages at QoS 2 that the broker may send again
        self._taken: set[int] = set()
        self._sent = self._heard = time.monotonic()
        self._end: Failure | None = None

    def log_in(
        self,
        username: str | None = None,
        password: str | None = None,
        client_id: str = "",
        will: Message | None = None,
    ) -> int:
        """Log in; return 0, or the code with which the broker rejects the client."""
        login = packets.connect(self._level, client_id, username, password, keepalive=self._keepalive, will=will)
        self._send(login, self._login_deadline)
        self._wait(lambda: self._code is not None, transport.SILENCE, self._login_deadline)
        return t.cast("int", self._code)

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> int | None:
        """Publish; return the reason code of PUBACK or PUBREC, which MQTT 5 has with QoS 1 and 2.

        With MQTT 3.1.1 the broker also acknowledges messages that it drops. With QoS 0 it answers a ping after the message.
        """
        number = self._next() if qos else 0
        packet = packets.publish(self._level, Message(topic, payload, qos, retain), number)
        if len(packet) > self.max_size:
            taken = f"the broker accepts packets of up to {self.max_size} bytes"
            raise Failure("message", f"the message is too large: it takes a packet of {len(packet)} bytes, and {taken}")
        self._send(packet)
        if not qos:
            self.ping()
            return None
        silence = "the broker did not acknowledge the message"
        [code] = self._answer(packets.PUBACK if qos == 1 else packets.PUBREC, number, silence)
        if qos == 2 and code < reasons.FIRST_REFUSAL:
            self._answer(packets.PUBCOMP, number, silence)
        return code if self._level == packets.V5 else None

    def subscribe(self, filters: t.Sequence[str], qos: int = 0) -> None:
        """Subscribe; return when the broker has confirmed it."""
        number = self._next()
        self._send(packets.subscribe(self._level, number, filters, qos))
        codes = self._answer(packets.SUBACK, number, "the broker did not confirm the subscription")
        refused = [
            f"{one} ({reasons.reason(code)})" for one, code in zip(filters, codes) if code >= reasons.FIRST_REFUSAL
        ]
        if refused:
            raise Failure("subscription", f"the broker rejected the subscription to {', '.join(refused)}")

    def unsubscribe(self, filters: t.Sequence[str]) -> None:
        """Unsubscribe; return when the broker has confirmed it, after all that it had sent before."""
        number = self._next()
        self._send(packets.unsubscribe(self._level, number, filters))
        self._answer(packets.UNSUBACK, number, "the broker did not confirm the end of the subscription")

    def ping(self) -> None:
        """Return when the broker has processed all sent packets, and all that it sent before has arrived."""
        self._ping()
        self._wait(lambda: not self._pings, "the broker did not answer")

    def leave(self) -> None:
        """Send DISCONNECT."""
        self._send(packets.packet(packets.DISCONNECT))

    def listen(self, deadline: float) -> None:
        """Receive messages until the deadline."""
        self.run(lambda: False, deadline)

    def run(self, done: t.Callable[[], bool], deadline: float) -> bool:
        """Receive until done returns true; return False if the deadline comes first."""
        while not done():
            if self._end:
                raise self._end
            if time.monotonic() >= deadline:
                return False
            ping_at = self._sent + self._keepalive if self._code == 0 and self._keepalive else float("inf")
            received = self.connection.receive(min(deadline, ping_at))
            if received:
                self._take(received)
            elif received is not None:
                self._end = (
                    self._not_mqtt(self._data) if self._code is None else Failure("lost", "the connection was lost")
                )
            if time.monotonic() >= ping_at and not self._end:
                self._keep_alive()
        return True

    def _wait(self, done: t.Callable[[], bool], silence: str, deadline: float | None = None) -> None:
        if not self.run(done, deadline or time.monotonic() + self._timeout):
            raise Failure("no_answer", silence)

    def _answer(self, kind: int, number: int, silence: str) -> bytes:
        """The reason codes of the packet that acknowledges another one."""
        self._wait(lambda: (kind, number) in self._answers, silence)
        return self._answers.pop((kind, number))

    def _next(self) -> int:
        self._identifier = self._identifier % 0xFFFF + 1
        return self._identifier

    def _send(self, data: bytes, deadline: float | None = None) -> None:
        self._sent = time.monotonic()
        self.connection.send(data, deadline or self._sent + self._timeout)

    def _ping(self) -> None:
        self._pings += 1
        self._send(packets.packet(packets.PINGREQ))

    def _keep_alive(self) -> None:
        """Send a ping, or end the connection if the broker has been silent since the last one."""
        if self._pings and self._heard < self._sent:
            self._end = Failure("lost", "the connection was lost")
        else:
            self._ping()

    def _take(self, received: bytes) -> None:
        """Process received bytes."""
        self._heard = time.monotonic()
        self._data += received
        first = self._data[:1]
        try:
            if self._code is None and self._data[0] != packets.CONNACK << 4:
                raise packets.Malformed("the first packet is another one")
            # Only a malformed packet at the start raises, so that all packets before it have been processed.
            while found := packets.split(self._data):
                for packet in found:
                    self._handle(packet)
        except packets.Malformed as exc:
            lost = Failure("lost", f"the connection was lost: the broker does not send MQTT: {exc}")
            self._end = self._not_mqtt(first) if self._code is None else lost

    def _handle(self, packet: packets.Packet) -> None:
        if self._code is None:
            self._code, told = packets.read_connack(self._level, packet)
            self._keepalive = told.get(packets.SERVER_KEEP_ALIVE, self._keepalive)
            self.max_qos = told.get(packets.MAXIMUM_QOS, self.max_qos)
            self.retain_available = bool(told.get(packets.RETAIN_AVAILABLE, True))
            self.max_size = told.get(packets.MAXIMUM_PACKET_SIZE, self.max_size)
        elif packet.kind == packets.PUBLISH:
            self._take_message(*packets.read_publish(self._level, packet))
        elif packet.kind in ACKNOWLEDGEMENTS:
            number, codes = packets.read_acknowledgement(self._level, packet)
            self._answers[packet.kind, number] = codes
            if packet.kind == packets.PUBREC and codes[0] < reasons.FIRST_REFUSAL:
                self._send(packets.acknowledge(packets.PUBREL, number))
        elif packet.kind == packets.PUBREL:
            number, _codes = packets.read_acknowledgement(self._level, packet)
            self._taken.discard(number)
            self._send(packets.acknowledge(packets.PUBCOMP, number))
        elif packet.kind == packets.PINGRESP:
            self._pings = max(self._pings - 1, 0)
        elif packet.kind == packets.DISCONNECT:
            code = packet.body[0] if packet.body else 0
            self._end = Failure("lost", f"the broker ended the connection: {reasons.reason(code)}")
        else:
            raise packets.Malformed(f"no broker sends packets of kind {packet.kind}")

    def _take_message(self, message: Message, number: int) -> None:
        if number not in self._taken:
            self.messages.append(message)
        if message.qos == 2:
            self._taken.add(number)
        if message.qos:
            self._send(packets.acknowledge(packets.PUBREC if message.qos == 2 else packets.PUBACK, number))

    def _not_mqtt(self, answer: bytearray) -> Failure:
        """The reason for a failed login: instead of a CONNACK the listener sent this, or nothing."""
        if answer[:1] == bytes([TLS_ALERT]):
            return Failure("not_mqtt", "it speaks TLS; set tls: true")
        if answer:
            return Failure("not_mqtt", "it answers, but not with MQTT")
        place = self.connection.place
        or_tls = "" if place.tls or place.unix_socket else ", or want TLS"
        return Failure(
            "not_mqtt",
            "it closed the connection without an answer to the login; "
            f"it may speak something else than MQTT{or_tls}, or have as many connections as it takes",
        )


@contextlib.contextmanager
def connected(listener: t.Mapping[str, t.Any], timeout: float) -> t.Iterator[Client]:
    """A client that is connected to a listener in the roles' format. It is not logged in yet."""
    deadline = time.monotonic() + timeout
    with transport.opened(transport.endpoint(listener), deadline) as connection:
        yield Client(connection, timeout, login_deadline=deadline)


def ask(listener: t.Mapping[str, t.Any], timeout: float) -> bytes | None:
    """Check that the listener gives any answer to a login within the timeout (seconds), else raise a Failure.

    Returns the certificate (DER) of a listener with TLS, else None.
    """
    certificate = None
    with contextlib.suppress(transport.WantsCertificate), connected(listener, timeout) as client:
        certificate = client.connection.certificate(der=True)
        client.log_in()
        client.leave()
    return certificate
