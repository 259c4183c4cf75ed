# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection to a broker."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets
from germqtt import config, connection

VERSIONS = ["5", "3.1.1"]


def opened(broker, version: int = "5", **changed) -> connection.Connection:
    options = config.Mqtt(**{"hostname": "127.0.0.1", "port": broker.port, "topic": "gerrit", **changed})
    return connection.Connection(options, "germqtt-0", version)


async def until(condition, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.fixture
def unraisable(monkeypatch):
    """Errors that cannot be caught, such as those in the finalizer of a client."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_is_acknowledged(broker, version):
    async def scenario():
        async with broker:
            current, got = opened(broker, version), []
            current.on_acknowledged = lambda number, code, _reason: got.append((number, code))
            await current.open("will", b"gone")
            sent = [current.publish("a", b"b"), current.publish("c", b"d", retain=True)]
            current.flush()
            await until(lambda: len(got) == 2)
            assert got == [(number, 0) for number in sent]
            current.close(politely=True)
            await until(lambda: broker.sessions[0].polite)
        assert [(one.topic, one.payload, one.qos, one.retain) for one in broker.all] == [
            ("a", b"b", 1, False),
            ("c", b"d", 1, True),
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x95, 0x97, 0x99])
def test_reasons_of_acknowledgements(broker, code):
    broker.answer = lambda _message: code

    async def scenario():
        async with broker:
            current, got = opened(broker), []
            current.on_acknowledged = lambda _number, code, reason: got.append((code, reason))
            await current.open("will", b"gone")
            current.publish("a", b"b")
            current.flush()
            await until(lambda: got)
            assert got[0][0] == code
            assert got[0][1]
            current.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("version", "welcome", "older"),
    [
        ("5", b"\x20\x02\x00\x01", True),
        ("5", b"\x20\x03\x00\x84\x00", True),
        ("5", b"\x20\x03\x00\x87\x00", False),
        ("3.1.1", b"\x20\x02\x00\x05", False),
    ],
)
def test_rejections_of_a_connection(broker, version, welcome, older):
    broker.welcome = {5: welcome, 4: welcome}

    async def scenario():
        async with broker:
            current = opened(broker, version)
            with pytest.raises(connection.RejectedError) as caught:
                await current.open("will", b"gone")
            current.close()
            assert caught.value.speaks_older is older
            assert str(caught.value)

    asyncio.run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("properties", "receive_maximum", "maximum_packet"),
    [
        (None, 65535, packets.LONGEST_PACKET),
        (b"\x21\x00\x14", 20, packets.LONGEST_PACKET),
        (b"\x27\x00\x00\x03\xe8", 65535, 1000),
    ],
    ids=["none", "receive-maximum", "maximum-packet-size"],
)
def test_limits_that_the_broker_announces(broker, version, properties, receive_maximum, maximum_packet):
    """MQTT 3.1.1 has no properties, so the defaults are used."""
    if properties:
        size = len(properties)
        broker.welcome = broker.welcome | {5: bytes([0x20, 3 + size, 0, 0, size]) + properties}
    if version != "5":
        receive_maximum, maximum_packet = 65535, packets.LONGEST_PACKET

    async def scenario():
        async with broker:
            current = opened(broker, version)
            await current.open("will", b"gone")
            assert (current.receive_maximum, current.maximum_packet) == (receive_maximum, maximum_packet)
            current.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("around", [0, 128, 128**2, 128**3])
def test_the_size_of_a_packet_is_known_before_it_is_sent(broker, version, around):
    """Also where its length field takes one byte more."""
    payloads = [b"x" * max(around + offset, 0) for offset in (-12, -11, -10, -9, -8, -7, 0, 1)]

    async def scenario():
        async with broker:
            current = opened(broker, version)
            await current.open("will", b"gone")
            for payload in payloads:
                current.publish("gér", payload)
            current.flush()
            await until(lambda: len(broker.all) == len(payloads))
            current.close()
        assert [one.size for one in broker.all] == [current.packet_size("gér", payload) for payload in payloads]

    asyncio.run(scenario())


@pytest.mark.parametrize("end", ["hang up", "goodbye", "silence"])
def test_the_reason_of_a_lost_connection(broker, end):
    if end == "goodbye":
        broker.nonsense = b"\xe0\x02\x8b\x00"

    async def scenario():
        async with broker:
            current = opened(broker, keepalive=1)
            broker.pings = end != "silence"
            await current.open("will", b"gone")
            if end == "hang up":
                await broker.stop()
            while not current.ended.done():
                current.tick()
                await asyncio.sleep(0.05)
            reason = current.ended.result()
            assert ("shutting down" in reason) == (end == "goodbye")
            assert reason
            current.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["hang up", "politely", "lost", "not let in", "never"])
def test_a_closed_connection_leaves_no_resources(broker, unraisable, version, how):
    if how == "not let in":
        broker.welcome = {5: b"\x20\x03\x00\x87\x00", 4: b"\x20\x02\x00\x05"}

    async def scenario():
        async with broker:
            current = opened(broker, version)
            try:
                if how != "never":
                    await current.open("will", b"gone")
                    current.publish("a", b"x" * 10_000_000)  # more than fits into one write
                    current.flush()
            except connection.RejectedError:
                pass
            if how == "lost":
                await broker.stop()
                await asyncio.wait_for(current.ended, 5)
            current.close(politely=how == "politely")
            current.close()
            watched = asyncio.get_running_loop()._selector.get_map()
            del current
            gc.collect()
            await asyncio.sleep(0)
            assert len(watched) <= 3  # the loop's own descriptor, the broker, and its side of the connection

    asyncio.run(scenario())
    gc.collect()
    assert unraisable == []


def test_a_connection_is_not_made_after_its_timeout(broker, monkeypatch, unraisable):
    """Otherwise it would take over the session of a newer connection, and leave its will."""
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.1)
    look_up, found = socket.getaddrinfo, []

    def slowly(*arguments, **given):
        time.sleep(0.3)
        found.append(look_up(*arguments, **given))
        return found[-1]

    monkeypatch.setattr(socket, "getaddrinfo", slowly)

    async def scenario():
        async with broker:
            current = opened(broker, hostname="localhost")
            with pytest.raises(TimeoutError):
                await current.open("will", b"gone")
            current.close()
            await until(lambda: found)
            await asyncio.sleep(0.1)
            assert broker.sessions == []

    asyncio.run(scenario())
    gc.collect()
    assert unraisable == []


def test_an_empty_password_is_not_sent(broker):
    async def scenario():
        async with broker:
            current = opened(broker, username="a")
            await current.open("will", b"gone")
            current.close()
            assert (broker.sessions[0].username, broker.sessions[0].password) == ("a", None)

    asyncio.run(scenario())


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_broker(broker_kind, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return broker_kind(context)


@pytest.mark.parametrize("size", [10, 3000, 40_000])
def test_tls(tls_broker, certificate, size):
    """All data of one TLS record is read, and data that does not fit into one write is sent later."""

    async def scenario():
        async with tls_broker as broker:
            current, got = opened(broker, tls=True, ca_file=certificate[0]), []
            current.on_acknowledged = lambda number, code, _reason: got.append((number, code))
            await current.open("will", b"gone")
            sent = [current.publish("a", b"x" * size) for _message in range(300)]
            current.flush()
            await until(lambda: len(got) == 300)
            assert got == [(number, 0) for number in sent]
            assert all(len(one.payload) == size for one in broker.all)
            current.close(politely=True)
            await until(lambda: broker.sessions[0].polite)

    asyncio.run(scenario())


@pytest.mark.parametrize("trusts", ["others", "another name", "plain"])
def test_tls_with_an_untrusted_broker_fails(tls_broker, broker, certificate, trusts):
    async def scenario():
        async with tls_broker, broker:
            changed = {"ca_file": None if trusts == "others" else certificate[0]}
            if trusts == "another name":
                changed["hostname"] = "localhost"
            current = opened(broker if trusts == "plain" else tls_broker, tls=True, **changed)
            with pytest.raises(OSError):
                await current.open("will", b"gone")
            current.close()
            assert tls_broker.sessions == []

    asyncio.run(scenario())


def test_a_missing_ca_file_is_a_temporary_error(broker, tmp_path):
    async def scenario():
        async with broker:
            with pytest.raises(OSError):
                opened(broker, tls=True, ca_file=tmp_path / "none")

    asyncio.run(scenario())
