# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's end of the relay, with a core that says what the tests want, behind TLS. With Mosquitto it is used in the Molecule scenarios."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _raw_client as raw
from firehose_relay import core as relay_core
from firehose_relay.core import Core
from firehose_relay.events import Event

LET_IN = raw.packet(raw.CONNACK, b"\1\0\6\x22\0\x0a\x13\0\x0f")
SUBSCRIBED = raw.packet(raw.SUBACK, b"\0\1\0\1")
HELLO = (
    b"\0\4MQTT\5\xc0\0\x0f"  # MQTT 5, with a name and a password, not a clean start, keepalive 15
    b"\x08\x11\xff\xff\xff\xff\x21\x03\xe8"  # the session does not expire; at most 1000 without an acknowledgement
    b"\0\3its\0\4name\0\6secret"
)


def publish(number: int, topic: str, payload: bytes, retain: bool = False, properties: bytes = b"\0") -> bytes:
    name = struct.pack("!H", number) if number else b""
    flags = (2 if number else 0) | retain
    return raw.packet(raw.PUBLISH, raw.text(topic) + name + properties + payload, flags)


class Peer:
    """The core, for one connection after the other."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        self.listening, self.context = listening, context
        self.data = bytearray()
        self.packets: list[raw.Packet] = []

    def accept(self) -> None:
        self.connection = self.context.wrap_socket(self.listening.accept()[0], server_side=True)
        self.connection.settimeout(10)
        self.data.clear()
        self.packets.clear()

    def say(self, *packets: bytes) -> None:
        """Each in a record of its own, as Mosquitto does it."""
        for packet in packets:
            self.connection.sendall(packet)

    def hear(self, count: int) -> list[tuple[int, bytes]]:
        while len(self.packets) < count:
            received = self.connection.recv(65536)
            assert received
            self.data += received
            self.packets += raw.split(self.data)
        heard, self.packets = self.packets[:count], self.packets[count:]
        return [(packet.kind, packet.body) for packet in heard]

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def peer(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        found = Peer(listening, context)
        yield found
        if hasattr(found, "connection"):
            found.close()


@pytest.fixture
def core(peer, certificate, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(relay_core, "FIRST_DELAY", 0.05)
    port = peer.listening.getsockname()[1]
    found = Core("127.0.0.1", port, str(certificate[0]), "name", "secret", "its")
    yield found
    found._opened.close()


def until(condition: t.Callable[[], t.Any], core: Core) -> list[Event]:
    """What is taken until then."""
    events: list[Event] = []
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        events += core.take(0.02)
    return events


def connect(core: Core, peer: Peer, *said: bytes) -> None:
    """A connection on which the core says that."""
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(peer.accept)
        until(accepted.done, core)
        accepted.result()
    assert peer.hear(1) == [(raw.CONNECT, HELLO)]
    peer.say(*said)


def taken(core: Core, count: int) -> list[Event]:
    events: list[Event] = []
    deadline = time.monotonic() + 10
    while len(events) < count:
        assert time.monotonic() < deadline
        events += core.take(0.1)
    return events


def log_in(core: Core, peer: Peer, options: bytes = b"\x09") -> None:
    connect(core, peer, LET_IN)
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(peer.hear, 1)
        until(heard.done, core)
    # QoS 1, retain as published, and at first all retained events
    assert heard.result() == [(raw.SUBSCRIBE, b"\0\1\0\0\1#" + options)]
    assert core.status != "connected"
    peer.say(SUBSCRIBED)
    until(lambda: core.status == "connected", core)


def test_events_come_in_order_and_are_acknowledged_together(core, peer):
    log_in(core, peer)
    said = [publish(number, "ci/ü", b"x" * number, number == 7) for number in range(1, 600)]
    # In pieces that have nothing to do with the packets, and with as many records as there are
    stream = b"".join(said)
    peer.say(*(stream[place : place + 1000] for place in range(0, len(stream), 1000)))
    events = taken(core, 599)
    assert events == [Event(number, "ci/ü", b"x" * number, number == 7) for number in range(1, 600)]
    core.acknowledge(events)
    assert peer.hear(599) == [(raw.PUBACK, struct.pack("!H", number)) for number in range(1, 600)]


def test_what_was_published_at_qos_0_is_not_acknowledged(core, peer):
    log_in(core, peer)
    peer.say(publish(0, "a", b"none"), publish(5, "a", b"one"))
    events = taken(core, 2)
    assert events == [Event(0, "a", b"none", False), Event(5, "a", b"one", False)]
    core.acknowledge(events)
    core.acknowledge(events[:1])
    core.stop()
    assert peer.hear(2) == [(raw.PUBACK, b"\0\5"), (raw.DISCONNECT, b"")]


@pytest.mark.parametrize("number", [0, 9])
@pytest.mark.parametrize("properties", [b"\2\1\1", b"\x83\1" + b"\x26\0\1k\0\x7d" + b"v" * 125])
def test_properties_are_no_part_of_the_payload(core, peer, number, properties):
    log_in(core, peer)
    peer.say(publish(number, "a", b"payload", properties=properties))
    assert taken(core, 1) == [Event(number, "a", b"payload", False)]


def test_an_event_that_is_larger_than_what_is_received_at_a_time(core, peer):
    log_in(core, peer)
    large = b"x" * (3 * relay_core.CHUNK)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(peer.say, publish(1, "a", large), publish(2, "a", b""))
        assert taken(core, 2) == [Event(1, "a", large, False), Event(2, "a", b"", False)]
        said.result()


def test_events_may_come_at_once_with_the_session(core, peer):
    connect(core, peer, LET_IN + publish(3, "a", b"from before"))
    assert taken(core, 1) == [Event(3, "a", b"from before", False)]


def test_events_that_are_not_wanted_wait(core, peer):
    log_in(core, peer)
    peer.say(publish(1, "a", b""))
    assert core.take(0.1, wanted=False) == []
    assert taken(core, 1) == [Event(1, "a", b"", False)]


def test_after_a_connection_that_ended_there_is_another_one(core, peer, caplog):
    log_in(core, peer)
    first = core.connection
    peer.say(publish(1, "a", b"") + b"\x32")
    old = taken(core, 1)
    peer.close()
    until(lambda: core.status != "connected", core)
    assert core.connection != first
    core.acknowledge(old)
    # and only those of a session that is new
    log_in(core, peer, b"\x19")
    # What came half is forgotten.
    peer.say(publish(2, "a", b"again"))
    assert taken(core, 1) == [Event(2, "a", b"again", False)]
    told = [message.partition(" ")[2].partition(" ")[2] for message in caplog.messages]
    assert told == ["connected", "hung up: it ended the connection", "connected"]


def test_what_comes_with_the_end_of_a_connection_is_left_to_the_next(core, peer):
    log_in(core, peer)
    taken_before = core.take(0.1)
    peer.say(publish(1, "a", b""))
    peer.close()
    time.sleep(0.1)
    assert taken_before + until(lambda: core.status != "connected", core) == []


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (
            [raw.packet(raw.CONNACK, b"\0\x86\0")],
            "refuses the relay: bad user name or password (reason code 134)",
        ),
        ([LET_IN, raw.packet(raw.SUBACK, b"\0\1\0\x87")], "refuses the relay: not authorized (reason code 135)"),
        (
            [LET_IN, SUBSCRIBED, raw.packet(raw.DISCONNECT, b"\x8b\0")],
            "hung up: server shutting down (reason code 139)",
        ),
        ([LET_IN, SUBSCRIBED, raw.packet(raw.DISCONNECT)], "hung up: success (reason code 0)"),
        ([b"\x30\xff\xff\xff\xff"], "cannot be reached: it does not speak MQTT"),
        ([b""], "cannot be reached: it ended the connection"),
    ],
)
def test_why_it_ends_is_told_once(core, peer, caplog, said, status):
    for _time in range(2):
        # All of it at once with the end
        connect(core, peer, b"".join(said))
        peer.close()
        connection = core.connection
        until(lambda connection=connection: core.connection > connection, core)
        assert core.status == status
    assert len([message for message in caplog.messages if status in message]) == (2 if "hung up" in status else 1)


def test_nobody_there(core, peer, caplog):
    peer.listening.close()
    until(lambda: core.connection > 2, core)
    assert [message.partition(" ")[2].partition(" ")[2] for message in caplog.messages] == [
        "cannot be reached: nobody listens there: Connection refused"
    ]


def test_attempts_become_rarer_until_one_succeeds(core, peer, monkeypatch):
    monkeypatch.setattr(relay_core, "LONGEST_DELAY", 0.3)
    for delay in [0.05, 0.1, 0.2, 0.3, 0.3]:
        connect(core, peer)
        peer.close()
        connection = core.connection
        until(lambda connection=connection: core.connection > connection, core)
        assert core._next_attempt - time.monotonic() == pytest.approx(delay, abs=0.04)
    log_in(core, peer)
    assert core._delay == 0.05


def test_a_certificate_of_another_host_is_not_taken(core, peer, monkeypatch):
    monkeypatch.setitem(core._listener, "host", "localhost")
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(peer.accept)
        until(lambda: core.connection, core)
        with pytest.raises(OSError):
            refused.result()
    assert core.status.startswith("cannot be reached: its certificate is not valid: ")


@pytest.mark.parametrize("wanted", [True, False])
def test_the_core_is_told_that_the_relay_is_there(core, peer, monkeypatch, wanted):
    monkeypatch.setattr(relay_core, "PING_AFTER", 0.2)
    log_in(core, peer)
    for _turn in range(10):
        core.take(0.1, wanted=wanted)
    assert peer.hear(3) == [(raw.PINGREQ, b"")] * 3


def test_a_core_that_is_silent_has_gone(core, peer, monkeypatch):
    monkeypatch.setattr(relay_core, "SILENCE", 0.5)
    log_in(core, peer)
    begin = time.monotonic()
    for _turn in range(4):
        core.take(0.2)
        peer.say(raw.packet(raw.PINGRESP))
    core.take(0.1)
    # Nobody knows whether there is anything in what is not looked at.
    core.take(0.6, wanted=False)
    core.take(0)
    assert core.status == "connected"
    assert time.monotonic() - begin > 1
    until(lambda: core.status != "connected", core)
    assert core.status == "hung up: it does not answer"


def test_a_relay_that_was_busy_looks_before_it_gives_up(core, peer, monkeypatch):
    monkeypatch.setattr(relay_core, "SILENCE", 0.3)
    log_in(core, peer)
    core.take(0.1)
    peer.say(publish(1, "a", b""))
    time.sleep(0.5)
    assert core.take(0) == [Event(1, "a", b"", False)]
    assert core.status == "connected"
