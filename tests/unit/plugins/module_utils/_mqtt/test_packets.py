# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""MQTT packets, compared with the bytes in the specifications."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Malformed, Message, Packet
from hypothesis import given
from hypothesis import strategies as st

V3 = packets.LEVELS["3.1.1"]
V5 = packets.V5
# MQTT 5.0, section 1.5.5
NUMBERS = {
    0: b"\0",
    127: b"\x7f",
    128: b"\x80\1",
    16383: b"\xff\x7f",
    16384: b"\x80\x80\1",
    268435455: b"\xff\xff\xff\x7f",
}


@pytest.mark.parametrize(("value", "data"), NUMBERS.items())
def test_numbers(value, data):
    assert packets.number(value) == data
    assert packets.read_number(b"x" + data + b"y", 1) == (value, 1 + len(data))
    for cut in range(len(data)):
        assert packets.read_number(data[:cut]) is None


def test_a_number_of_five_bytes():
    with pytest.raises(Malformed, match="more than 4 bytes"):
        packets.read_number(b"\xff\xff\xff\xff\1")


@pytest.mark.parametrize(
    ("login", "given", "flags", "payload"),
    [
        ((), {}, 0x02, b"\0\0"),
        (("", "zuül"), {}, 0x82, b"\0\0\0\5zu\xc3\xbcl"),
        (("", "zuul", ""), {}, 0xC2, b"\0\0\0\4zuul\0\0"),
        (("", "z" * 300, "p"), {}, 0xC2, b"\0\0\1\x2c" + b"z" * 300 + b"\0\1p"),
        (("i",), {"will": Message("t", b"\xff", 1, True)}, 0x2E, b"\0\1i{}\0\1t\0\1\xff"),
        (("i", "u"), {"will": Message("t", b"", 2)}, 0x96, b"\0\1i{}\0\1t\0\0\0\1u"),
    ],
)
@pytest.mark.parametrize("level", [V3, V5])
def test_connect(level, login, given, flags, payload):
    none = b"\0" if level == V5 else b""
    body = b"\0\4MQTT" + bytes([level, flags]) + b"\0\x3c" + none + payload.replace(b"{}", none)
    assert packets.connect(level, *login, keepalive=60, **given) == b"\x10" + packets.number(len(body)) + body


@pytest.mark.parametrize(
    ("made", "data"),
    [
        (packets.publish(V3, Message("a", b"b")), b"\x30\4\0\1ab"),
        (packets.publish(V5, Message("a", b"b", 1, True), 258), b"\x33\7\0\1a\1\2\0b"),
        (packets.publish(V3, Message("a", b"", 2), 1), b"\x34\5\0\1a\0\1"),
        (packets.subscribe(V3, 1, ["a", "b"], 1), b"\x82\x0a\0\1\0\1a\1\0\1b\1"),
        (packets.subscribe(V5, 1, ["a"], 2), b"\x82\7\0\1\0\0\1a\2"),
        (packets.unsubscribe(V3, 1, ["a"]), b"\xa2\5\0\1\0\1a"),
        (packets.unsubscribe(V5, 1, ["a", "b"]), b"\xa2\x09\0\1\0\0\1a\0\1b"),
        (packets.acknowledge(packets.PUBREL, 7), b"\x62\2\0\7"),
        (packets.acknowledge(packets.PUBACK, 7, 0x87), b"\x40\3\0\7\x87"),
        (packets.packet(packets.PINGREQ), b"\xc0\0"),
        (packets.packet(packets.DISCONNECT), b"\xe0\0"),
    ],
)
def test_packets(made, data):
    assert made == data


TOPICS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.sampled_from([V3, V5]), st.builds(Message, TOPICS, st.binary(max_size=300), st.integers(0, 2), st.booleans()))
def test_messages_survive_a_round_trip(level, message):
    [found] = packets.split(bytearray(packets.publish(level, message, 9)))
    assert packets.read_publish(level, found) == (message, 9 if message.qos else 0)


def test_properties_of_a_message_are_skipped():
    body = b"\0\1t\7\x26\0\1a\0\1bpayload"
    assert packets.read_publish(V5, Packet(packets.PUBLISH, 0, body)) == (Message("t", b"payload"), 0)


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(0, 300))
def test_only_complete_packets_are_removed(bodies, cut):
    sent = b"".join(packets.packet(packets.PUBLISH, body) for body in bodies)
    data = bytearray(sent[: len(sent) - cut] if cut else sent)
    found = packets.split(data)
    assert [one.body for one in found] == bodies[: len(found)]
    assert (
        b"".join(packets.packet(packets.PUBLISH, one.body) for one in found) + data == sent[: len(sent) - cut or None]
    )
    assert packets.split(data) == []


def test_malformed_data_after_packets_loses_no_packet():
    data = bytearray(packets.packet(packets.PINGRESP) + b"\x30" + b"\xff" * 4)
    assert packets.split(data) == [Packet(packets.PINGRESP, 0, b"")]
    for _time in range(2):
        with pytest.raises(Malformed, match="more than 4 bytes"):
            packets.split(data)


@pytest.mark.parametrize(
    ("level", "body", "found"),
    [
        (V3, b"\0\5", (5, {})),
        (V3, b"\1\0", (0, {})),
        (V5, b"\0\0\0", (0, {})),
        (V5, b"\0\x87\0", (0x87, {})),
        (V5, b"\0\1", (1, {})),  # a broker that supports only 3.1.1
        (V5, b"\0\0\x0d\x22\0\x0a\x13\0\x1e\x25\0\x21\0\x14\x24\1", (0, {34: 10, 19: 30, 37: 0, 33: 20, 36: 1})),
        (V5, b"\0\0\x0e\x12\0\3own\x26\0\1a\0\2bc", (0, {18: "own", 38: ("a", "bc")})),
    ],
)
def test_connack(level, body, found):
    assert packets.read_connack(level, Packet(packets.CONNACK, 0, body)) == found


@pytest.mark.parametrize(
    ("kind", "level", "body", "codes"),
    [
        (packets.PUBACK, V3, b"\0\1", b"\0"),
        (packets.PUBACK, V5, b"\0\1\x10", b"\x10"),
        (packets.PUBREC, V5, b"\0\1\x87\0", b"\x87"),
        (packets.SUBACK, V3, b"\0\1\0\1", b"\0\1"),
        (packets.SUBACK, V5, b"\0\1\0\1\x87", b"\1\x87"),
        (packets.SUBACK, V5, b"\0\1\5\x1f\0\2no\x87", b"\x87"),
        (packets.SUBACK, V5, b"\0\1\x83\1\x1f\0\x80" + b"x" * 128 + b"\2", b"\2"),
        (packets.SUBACK, V5, b"\0\1\0", b""),
        (packets.UNSUBACK, V3, b"\0\1", b""),
        (packets.UNSUBACK, V5, b"\0\1\0\x11", b"\x11"),
    ],
)
def test_acknowledgements(kind, level, body, codes):
    assert packets.read_acknowledgement(level, Packet(kind, 0, body)) == (1, codes)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (packets.read_connack, b""),
        (packets.read_connack, b"\0"),
        (packets.read_connack, b"\0\0"),
        (packets.read_connack, b"\0\0\x03\x13\0"),
        (packets.read_connack, b"\0\0\1\x7f"),
        (packets.read_connack, b"\0\0\1\xff"),
        (packets.read_acknowledgement, b"\0"),
        (packets.read_publish, b"\0\2t"),
        (packets.read_publish, b"\0\1\xff\0"),
        (packets.read_publish, b"\0\1t"),
    ],
)
def test_truncated_packets_are_malformed(read, body):
    with pytest.raises(Malformed):
        read(V5, Packet(packets.SUBACK, 0, body))


def test_an_invalid_qos():
    with pytest.raises(Malformed, match="QoS"):
        packets.read_publish(V3, Packet(packets.PUBLISH, 6, b"\0\1t\0\1"))
