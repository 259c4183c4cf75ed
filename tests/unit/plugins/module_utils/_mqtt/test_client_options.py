# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a connection."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.opendev.firehose.plugins.doc_fragments import _mqtt as fragment
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options

TLS = {"tls": True}
UNIX = {"transport": "unix", "socket": "/run/broker.sock"}


def options(**given):
    """The options as a module has them, with defaults."""
    return {name: option.get("default") for name, option in client_options.argument_spec().items()} | given


def test_the_documentation_matches_the_options():
    documented = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    spec = client_options.argument_spec()
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
def test_valid_options(given):
    assert client_options.option_problems(options(**given)) == []


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
        ({"connect_timeout": 1e10}, "connect_timeout: 1e+10 is no number of seconds above 0 and up to 1000000000"),
    ],
)
def test_invalid_options(given, problem):
    [found] = client_options.option_problems(options(**given))
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
def test_the_place_in_messages(given, place):
    assert client_options.place(options(**given)) == place


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "gerrit/x/ü", "$SYS/a"])
def test_valid_topics(topic):
    assert client_options.topic_problem(topic) is None


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
def test_invalid_topics(topic, problem):
    assert problem in (client_options.topic_problem(topic) or "")
