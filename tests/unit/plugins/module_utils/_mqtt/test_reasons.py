# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The descriptions of a broker's answers."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import reasons


@pytest.mark.parametrize(
    ("code", "version", "cause", "words"),
    [
        (4, "3.1.1", "login", "bad user name or password (return code 4)"),
        (5, "3.1.1", "login", "not authorized (return code 5)"),
        (0x86, "5", "login", "bad user name or password (reason code 134)"),
        (0x87, "5", "login", "not authorized (reason code 135)"),
        (0x8A, "5", "login", "banned"),
        (1, "3.1.1", "refused", 'protocol_version: "5"'),
        (1, "5", "refused", 'protocol_version: "3.1.1"'),
        (0x84, "5", "refused", 'protocol_version: "3.1.1"'),
        (2, "3.1.1", "refused", "client identifier not valid"),
        (0x88, "5", "refused", "server unavailable"),
        (0x9F, "5", "refused", "connection rate exceeded"),
        (0xFE, "5", "refused", "reason code 254"),
        (99, "3.1.1", "refused", "return code 99"),
    ],
)
def test_rejections_of_a_connection(code, version, cause, words):
    refusal = reasons.connect_refusal(code, version)
    assert refusal.cause == cause
    assert words in str(refusal)


@pytest.mark.parametrize(
    ("version", "qos", "code", "acceptance", "words"),
    [
        ("5", 0, None, "unknown", "QoS 0"),
        ("3.1.1", 0, None, "unknown", "QoS 0"),
        ("3.1.1", 1, None, "unknown", "MQTT 3.1.1"),
        ("3.1.1", 2, None, "unknown", "MQTT 3.1.1"),
        ("5", 1, 0, "accepted", "accepted the message."),
        ("5", 1, 0x10, "accepted", "no matching subscribers (reason code 16)"),
        ("5", 1, 0x87, "refused", "not authorized (reason code 135)"),
        ("5", 2, 0x97, "refused", "quota exceeded"),
        ("5", 2, 0, "accepted", "accepted the message."),
        ("5", 1, 0xFE, "refused", "reason code 254"),
    ],
)
def test_acceptance(version, qos, code, acceptance, words):
    found, reason = reasons.acceptance(version, qos, code)
    assert found == acceptance
    assert words in reason
