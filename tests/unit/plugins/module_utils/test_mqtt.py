# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a connection, and the words for what a broker answers."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.opendev.firehose.plugins.doc_fragments import _mqtt as fragment
from ansible_collections.opendev.firehose.plugins.module_utils import _mqtt

TLS = {"tls": True}
UNIX = {"transport": "unix", "socket": "/run/broker.sock"}


def options(**given):
    """The options as a module has them, with defaults."""
    return {name: option.get("default") for name, option in _mqtt.argument_spec().items()} | given


def test_the_documentation_is_that_of_the_options():
    documented = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    spec = _mqtt.argument_spec()
    assert documented.keys() == spec.keys()
    for name, option in spec.items():
        assert documented[name]["type"] == option["type"]
        assert documented[name].get("default") == option.get("default")
        assert list(documented[name].get("choices", [])) == option.get("choices", [])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"port": 65535, "host": "::1"},
        UNIX,
        {**UNIX, "host": "a default of a group"},
        {**TLS, "ca_path": "/ca", "client_cert": "/cert", "client_key": "/key"},
        {**TLS, "client_cert": "/cert and key"},
        {"transport": "websockets", "websockets_path": "/"},
        {"username": "zuul"},
        {"username": "zuul", "password": "ü x"},
        {"keepalive": 0},
    ],
)
def test_good_options(given):
    assert _mqtt.option_problems(options(**given)) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"transport": "unix"}, "transport=unix needs socket"),
        ({"socket": "/run/broker.sock"}, "socket needs transport=unix"),
        ({**UNIX, "port": 1883}, "port makes no sense"),
        ({**UNIX, "tls": True}, "tls makes no sense"),
        ({"host": " "}, "host is empty"),
        ({"port": 0}, "port: 0 is not between"),
        ({"port": 65536}, "port: 65536 is not between"),
        ({"transport": "websockets", "websockets_path": "mqtt"}, "websockets_path: 'mqtt'"),
        ({"transport": "websockets", "websockets_path": "/a b"}, "websockets_path: '/a b'"),
        ({"transport": "websockets", "websockets_path": "/a\r\nb:"}, "websockets_path"),
        ({"ca_path": "/ca"}, "ca_path needs tls"),
        ({"client_cert": "/cert"}, "client_cert needs tls"),
        ({**TLS, "client_key": "/key"}, "client_key needs client_cert"),
        ({"password": "secret"}, "password needs username"),
        ({"username": "", "password": "secret"}, "username: it is empty"),
        ({"username": "a", "password": ""}, "password: it is empty"),
        ({"username": "a", "password": "x" * 65536}, "password: it has more than 65535 bytes"),
        ({"client_id": "a\0"}, "client_id: it has a NUL"),
        ({"client_id": "\udc80"}, "client_id: it is not valid UTF-8"),
        ({"keepalive": -1}, "keepalive: -1"),
        ({"keepalive": 65536}, "keepalive: 65536"),
        ({"connect_timeout": 0}, "connect_timeout: 0 "),
        ({"connect_timeout": float("nan")}, "connect_timeout: nan"),
        ({"connect_timeout": float("inf")}, "connect_timeout: inf"),
    ],
)
def test_bad_options(given, problem):
    [found] = _mqtt.option_problems(options(**given))
    assert problem in found
    assert "secret" not in found


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "localhost port 1883"),
        (TLS, "localhost port 8883 (TLS)"),
        ({"transport": "websockets"}, "localhost port 80 (websockets)"),
        ({"transport": "websockets", **TLS}, "localhost port 443 (websockets, TLS)"),
        ({"port": 1999, "host": "a"}, "a port 1999"),
        (UNIX, "the socket /run/broker.sock"),
    ],
)
def test_places(given, place):
    assert _mqtt.place(options(**given)) == place


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "gerrit/x/ü", "$SYS/a"])
def test_good_topics(topic):
    assert _mqtt.topic_problem(topic) is None


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ("", "empty"),
        ("a/+/b", "wildcards (+)"),
        ("#", "wildcards (#)"),
        ("a#+", "(#, +)"),
        ("a\n", "control"),
        ("x" * 65536, "65535"),
    ],
)
def test_bad_topics(topic, problem):
    assert problem in (_mqtt.topic_problem(topic) or "")


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
def test_refusals_of_a_connection(code, version, cause, words):
    refusal = _mqtt.connect_refusal(code, version)
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
    found, reason = _mqtt.acceptance(version, qos, code)
    assert found == acceptance
    assert words in reason
