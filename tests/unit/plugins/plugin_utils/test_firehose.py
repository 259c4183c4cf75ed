# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The firehose's accounts, ACL and listeners as data."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose

GERMQTT = {"name": "germqtt", "password": "p", "topics": ["gerrit/#"]}
TLS = {"certificate": "/c", "key": "/k"}


def test_accounts_have_only_account_options():
    relay = {"name": "relay", "password_file": "/x", "topics": ["#"]}
    found = _firehose.policy([GERMQTT], [{"name": "a", "state": "absent", "password": None, "topics": []}, relay])
    assert found["users"] == [
        {"name": "germqtt", "password": "p"},
        {"name": "a", "state": "absent"},
        {"name": "relay", "password_file": "/x"},
    ]


def test_acl():
    rules = _firehose.policy(
        [GERMQTT, {"name": "gone", "state": "absent", "topics": ["gone/#"]}],
        [{"name": "monitor", "password": "p", "sys": ["x"]}, {"name": "narrow", "password": "p", "topics": ["a/#"]}],
        ["#"],
    )["acl"]
    assert rules == {
        "anonymous": [{"topic": "#", "access": "read"}],
        "users": [
            {"name": "germqtt", "state": "present", "rules": [{"topic": "gerrit/#", "access": "write"}]},
            {"name": "gone", "state": "absent", "rules": [{"topic": "gone/#", "access": "write"}]},
            {
                "name": "monitor",
                "state": "present",
                "rules": [{"topic": "#", "access": "read"}, {"topic": "$SYS/x", "access": "read"}],
            },
            {"name": "narrow", "state": "present", "rules": [{"topic": "a/#", "access": "read"}]},
        ],
        "patterns": [],
    }


def test_only_its_publisher_can_use_a_private_topic():
    other = {"name": "other", "topics": ["#"]}
    found = _firehose.policy([GERMQTT, other], [{"name": "monitor"}], ["#"], private={"germqtt": "$germqtt/gerrit"})
    assert {user["name"]: user["rules"] for user in found["acl"]["users"]} == {
        "germqtt": [
            {"topic": "gerrit/#", "access": "write"},
            {"topic": "$germqtt/gerrit", "access": "readwrite"},
        ],
        "other": [{"topic": "#", "access": "write"}],
        "monitor": [{"topic": "#", "access": "read"}],
    }


def test_acl_of_the_public_broker():
    assert _firehose.policy([], [], ["#"], ["broker/clients/connected"])["acl"] == {
        "anonymous": [
            {"topic": "#", "access": "read"},
            {"topic": "$SYS/broker/clients/connected", "access": "read"},
        ],
        "users": [],
        "patterns": [],
    }


@pytest.mark.parametrize(
    ("tls", "plain", "places"),
    [
        ({}, True, [(None, 1883), (None, 80)]),
        (TLS, True, [(None, 1883), (None, 80), (None, 8883), (None, 443)]),
        (TLS, False, [(None, 8883), (None, 443)]),
    ],
)
def test_listeners(tls, plain, places):
    found = _firehose.listeners(tls, plain)
    assert [(listener.get("bind_address"), listener["port"]) for listener in found] == places
    assert all(listener.get("tls") == (TLS if listener["port"] in (8883, 443) else None) for listener in found)
    assert all((listener.get("protocol") == "websockets") == (listener["port"] in (80, 443)) for listener in found)


@pytest.mark.parametrize(("tls", "places"), [({}, [("127.0.0.1", 1884)]), (TLS, [("127.0.0.1", 1884), (None, 8884)])])
def test_account_listeners(tls, places):
    found = _firehose.listeners(tls, accounts=True)
    assert [(listener.get("bind_address"), listener["port"]) for listener in found] == places
    assert [listener.get("tls") for listener in found] == [None, TLS][: len(found)]
    assert _firehose.listeners(tls, plain=False, accounts=True) == found[1:]


@pytest.mark.parametrize(
    "listener",
    [
        {"socket": "/s"},
        {"port": 1, "bind_address": "::1"},
        {"port": 1, "bind_address": "192.0.2.1"},
        {"port": 1, "protocol": "websockets"},
        {"port": 1, "tls": TLS},
        {"port": 1, "options": {"psk_hint": "x"}},
    ],
)
def test_listeners_that_a_local_program_cannot_use(listener):
    assert not _firehose.serves_locally(listener)
    assert _firehose.serves_locally({"port": 2})


def test_public_listeners():
    listeners = [
        {"port": 1883},
        {"port": 80, "protocol": "websockets", "bind_address": "192.0.2.1"},
        {"port": 1884, "bind_address": "127.0.0.1"},
        {"socket": "/run/mosquitto/broker.sock"},
        {"port": 8883, "bind_address": "0.0.0.0", "tls": {"certificate": "/c", "key": "/k"}},
        {"port": 8884, "tls": {"certificate": "/c", "key": "/k", "ca": "/a", "require_certificate": True}},
        {"port": 1885, "options": {"enable_proxy_protocol": 2}},
    ]
    assert _firehose.public_listeners(listeners) == [
        {"port": 1883, "protocol": "mqtt"},
        {"port": 80, "protocol": "websockets", "address": "192.0.2.1"},
        {"port": 8883, "protocol": "mqtt", "tls": True},
        {
            "port": 8884,
            "protocol": "mqtt",
            "tls": True,
            "not_checked": "it wants certificates of clients, which the public does not have",
        },
        {
            "port": 1885,
            "protocol": "mqtt",
            "not_checked": "it wants pre-shared keys or the PROXY protocol, which is not tried",
        },
    ]
