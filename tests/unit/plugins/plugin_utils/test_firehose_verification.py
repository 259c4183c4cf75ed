# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The input of a verification from a firehose and its edge hosts."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_verification

TLS = {"certificate": "/c.pem", "key": "/k.pem"}


def test_other_accounts_with_write_access_are_found():
    accounts = {"users": [{"name": name} for name in ("zuul", "wiki", "monitor", "gone")]}
    public_rules = {
        "anonymous": [{"topic": "#", "access": "read"}, {"topic": "chat/#", "access": "readwrite"}],
        "users": [],
        "patterns": [{"topic": topic, "access": "write"} for topic in ("of/%u", "of/%c", "all")],
    }
    rules = {
        "anonymous": [{"topic": "secret/#", "access": "readwrite"}],
        "users": [
            {"name": "wiki", "rules": [{"topic": "wiki/#", "access": "write"}, {"topic": "#", "access": "deny"}]},
            {"name": "monitor", "rules": [{"topic": "#", "access": "read"}]},
            {"name": "nobody", "rules": [{"topic": "nobody/#", "access": "write"}]},
        ],
        "patterns": [],
    }
    zuul = {"name": "zuul", "password": "p", "topics": ["zuul/#"]}
    assert _firehose_verification.found([zuul, {"name": "gone", "state": "absent"}], accounts, rules, public_rules) == {
        "publishers": [
            {"name": "zuul", "topics": ["zuul/#"], "publishes": True},
            {"name": "wiki", "topics": ["wiki/#"]},
            {"name": "monitor", "topics": []},
            {"name": "gone", "topics": []},
        ],
        "anonymous_topics": ["chat/#", "of/%c", "all"],
    }


def test_the_reference_publisher_on_the_host():
    writers = [
        {"name": "zuul", "topics": ["zuul/#"]},
        {"name": "monitor", "topics": []},
        {"name": "1", "topics": ["a"]},
    ]
    found = {"publishers": writers, "anonymous_topics": ["chat/#"]}
    publishers = [{"name": "monitor", "password": "m"}, {"name": 1, "password": "p"}, {"name": "zuul"}]
    assert _firehose_verification.beacon(found, "1f", ["#"], [{"port": 1883}], publishers) == {
        "endpoint": {"host": "127.0.0.1", "port": 1883, "protocol": "mqtt", "tls": False},
        "topic": "firehose/verify/1f/beacon",
        "watched": [
            "zuul/firehose-verify-1f",
            "a",
            "chat/firehose-verify-1f",
            "firehose/verify/1f/beacon",
            "firehose/verify/1f/anonymous",
            "firehose/verify/1f/claim",
        ],
        "publishers": [{"number": 2, "name": "1", "password": "p", "topic": "a"}],
    }
    assert _firehose_verification.beacon(found, "1f", ["#"], [])["publishers"] == []


@pytest.mark.parametrize(
    ("listener", "endpoint"),
    [
        ({"port": 1}, {"host": "127.0.0.1", "port": 1, "protocol": "mqtt", "tls": False}),
        (
            {"port": 2, "bind_address": "::", "protocol": "websockets"},
            {"host": "::1", "port": 2, "protocol": "websockets", "tls": False},
        ),
        ({"port": 3, "bind_address": "10.0.0.1"}, {"host": "10.0.0.1", "port": 3, "protocol": "mqtt", "tls": False}),
        ({"socket": "/s"}, {"socket": "/s"}),
        ({"port": 4, "tls": TLS}, {"host": "127.0.0.1", "port": 4, "protocol": "mqtt", "tls": True}),
        ({"port": 5, "options": {"psk_hint": "x"}}, None),
        ({"port": 6, "options": {"enable_proxy_protocol": 2}}, None),
        ({"port": 7, "tls": {**TLS, "require_certificate": True}}, None),
    ],
)
def test_the_local_endpoint_of_the_broker(listener, endpoint):
    found = {"publishers": [], "anonymous_topics": []}
    assert _firehose_verification.beacon(found, "1f", ["#"], [listener])["endpoint"] == endpoint
    # The first reachable listener is used.
    others = [{"port": 8, "options": {"psk_hint": "x"}}, listener, {"port": 9}]
    assert _firehose_verification.beacon(found, "1f", ["#"], others)["endpoint"] == (
        endpoint or {"host": "127.0.0.1", "port": 9, "protocol": "mqtt", "tls": False}
    )


@pytest.mark.parametrize("publish", [False, True])
def test_the_complete_plan_of_a_verification(publish):
    rules = {"anonymous": [], "users": [], "patterns": []}
    zuul = {"name": "zuul", "password": "only-for-tests", "topics": ["zuul/#"]}
    internal = {"port": 884, "bind_address": "127.0.0.1"}
    found = _firehose_verification.verification(
        [zuul],
        run="1f",
        accounts={"users": [{"name": "zuul"}, {"name": "wiki"}]},
        rules={**rules, "users": [{"name": "wiki", "rules": [{"topic": "wiki/#", "access": "write"}]}]},
        public_rules={**rules, "anonymous": [{"topic": "chat", "access": "write"}]},
        public_topics=["#"],
        listeners=[{"port": 1883}, {"port": 443, "protocol": "websockets", "tls": TLS}],
        account_listeners=[internal, {"port": 8884, "tls": TLS}],
        publish=publish,
    )
    beacon = found.pop("beacon")
    assert found == {
        "publishers": [
            {"name": "zuul", "topics": ["zuul/#"], "publishes": True},
            {"name": "wiki", "topics": ["wiki/#"]},
        ],
        "anonymous_topics": ["chat"],
        "listeners": [{"port": 1883, "protocol": "mqtt"}, {"port": 443, "protocol": "websockets", "tls": True}],
        "account_listeners": [{"port": 8884, "protocol": "mqtt", "tls": True}],
        "certificates": [{"port": port, "bind_address": "", "certificate": TLS["certificate"]} for port in (443, 8884)],
    }
    assert beacon["endpoint"] == {"host": "127.0.0.1", "port": 884, "protocol": "mqtt", "tls": False}
    assert {"zuul/firehose-verify-1f", "wiki/firehose-verify-1f", "chat"} <= {*beacon["watched"]}
    assert [one["password"] for one in beacon["publishers"]] == (["only-for-tests"] if publish else [])


def test_drained_edge_hosts_are_not_verified():
    hosts = [
        {"inventory_hostname": "a", "firehose_tls": TLS, "firehose_plain": False},
        {"inventory_hostname": "b", "firehose_edge_state": "drained"},
        {
            "inventory_hostname": "c",
            "ansible_host": "192.0.2.3",
            "firehose_listeners": [{"port": 1884}],
        },
        {"inventory_hostname": "d", "ansible_host": "192.0.2.4", "firehose_verify_host": "d.example.org"},
    ]
    found = {place["name"]: place for place in _firehose_verification.places(hosts)}
    assert [*found] == ["a", "c", "d"]
    assert [listener["port"] for listener in found["a"]["listeners"]] == [8883, 443]
    assert [certificate["port"] for certificate in found["a"]["certificates"]] == [8883, 443]
    assert found["c"] == {
        "name": "c",
        "certificates": [],
        "host": "192.0.2.3",
        "listeners": [{"port": 1884, "protocol": "mqtt"}],
    }
    assert found["d"]["host"] == "d.example.org"
    assert [listener["port"] for listener in found["d"]["listeners"]] == [1883, 80]
