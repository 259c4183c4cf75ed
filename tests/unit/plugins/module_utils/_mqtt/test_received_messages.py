# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The selection of received messages."""

from __future__ import annotations

import collections

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import received_messages
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.received_messages import (
    Collector,
    Condition,
    as_result,
)


@pytest.mark.parametrize("value", [0, 0.0, 1, "x", " ", [0], {"a": None}, True])
def test_true_values(value):
    assert received_messages.is_true(value)


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_false_values(value):
    assert not received_messages.is_true(value)


@pytest.mark.parametrize(
    ("expression", "payload", "holds"),
    [
        ("event == 'finished'", b'{"event": "finished"}', True),
        ("event == 'finished'", b'{"event": "begun"}', False),
        ("event", b'{"event": 0}', True),
        ("event", b'{"event": ""}', False),
        ("event", b"[]", False),
        ("@ > `1`", b"2", True),
        ("@ > `1`", b"1", False),
        ("@", b"not JSON", False),
        ("@", b"", False),
        ("@", b"\xff\xfe\xff", False),
        ("@", b"[" * 100000, False),
        ("starts_with(event, 'fin')", b'{"event": "finished"}', True),
        ("starts_with(event, 'fin')", b'{"other": 1}', False),  # an argument that the function does not accept
    ],
)
def test_conditions(expression, payload, holds):
    assert Condition(expression).holds(payload) is holds


@pytest.mark.parametrize("expression", ["", "event ==", "nothing(@)", "abs(`1`, `2`)", "[", "'"])
def test_invalid_conditions(expression):
    with pytest.raises(received_messages.ConditionError) as caught:
        Condition(expression)
    assert str(caught.value).startswith(f"condition: {expression!r}: ")
    assert "\n" not in str(caught.value)


def test_a_payload_is_text_or_base64():
    assert as_result(Message("a", "ü".encode(), 1, True)) == {
        "topic": "a",
        "payload": "ü",
        "payload_base64": None,
        "qos": 1,
        "retain": True,
    }
    binary = as_result(Message("a", b"\xff\x00", 0, False))
    assert (binary["payload"], binary["payload_base64"]) == (None, "/wA=")


def queue(*payloads: bytes, retain: bool = False) -> collections.deque[Message]:
    return collections.deque(Message(f"t/{number}", payload, 0, retain) for number, payload in enumerate(payloads))


def test_collecting_ends_at_the_wanted_number():
    collector, messages = Collector(2, None, True), queue(b"1", b"2", b"3")
    assert collector.take(messages)
    assert [message.payload for message in collector.matching] == [b"1", b"2"]
    assert len(messages) == 1


def test_ignored_messages_are_counted():
    collector = Collector(2, Condition("@ > `1`"), True)
    assert not collector.take(queue(b"1", b"2", b"x"))
    assert (len(collector.matching), collector.ignored) == (1, 2)
    assert collector.take(queue(b"3"))


def test_retained_messages_can_be_ignored():
    with_them, without = Collector(1, None, True), Collector(1, None, False)
    assert with_them.take(queue(b"1", retain=True))
    assert not without.take(queue(b"1", retain=True))
    assert without.ignored == 1
    assert without.take(queue(b"1"))
