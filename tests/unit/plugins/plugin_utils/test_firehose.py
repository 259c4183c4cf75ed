# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The firehose's policy as data, and what it refuses."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose

HASH = "$7$101$9YVKVxJaCwEGBL4X$" + "A" * 86 + "=="
GERMQTT = {"name": "germqtt", "password": "p", "topics": ["gerrit/#"]}
FINE = {
    "firehose_publishers": [GERMQTT, {"name": "zuul", "password_hash": HASH, "topics": ["zuul/#", "jobs/+"]}],
    "firehose_readers": [{"name": "monitor", "password": "p", "sys": ["broker/clients/connected"]}],
    "firehose_public_topics": ["#"],
    "firehose_listeners": [{"port": 1883}, {"port": 80, "protocol": "websockets"}],
    "firehose_account_listeners": [{"port": 1884, "bind_address": "127.0.0.1"}],
    "firehose_germqtt": True,
    "firehose_germqtt_publisher": "germqtt",
    "germqtt_topic": "gerrit",
}


TLS = {"certificate": "/c", "key": "/k"}
TEXTS = {
    "certificate_pem": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    "key_pem": "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
}


@pytest.fixture
def problems(roles):
    role = roles["firehose"]

    def find(**changed):
        return _firehose.problems({**role.defaults, **FINE, **changed}, role.options)

    return find


def test_nothing_is_wrong(problems):
    assert problems() == []


@pytest.mark.parametrize(
    "change",
    [
        {"firehose_publishers": [], "firehose_germqtt": False},
        {"firehose_listeners": [{"port": 2883}]},
        {"firehose_account_listeners": [{"socket": "/run/mosquitto/socket"}, {"port": 2884}]},
        {"firehose_tls": TLS, "firehose_account_listeners": _firehose.account_listeners(TLS)},
        {"firehose_public_sys": ["broker/clients/connected"]},
        {"firehose_readers": [{"name": "firehose-verify-1f", "state": "absent"}]},
        {"firehose_publishers": [{**GERMQTT, "topics": ["+/#"]}]},
        {"firehose_tls": TLS, "firehose_listeners": _firehose.listeners(TLS, True)},
        {"firehose_tls": TEXTS, "firehose_listeners": _firehose.listeners(TEXTS, True)},
        {"firehose_tls": TLS, "firehose_listeners": _firehose.listeners(TLS, False), "firehose_plain": False},
        {"firehose_publishers": [{**GERMQTT, "name": 1}], "firehose_germqtt_publisher": "1"},
    ],
)
def test_these_are_fine_too(problems, change):
    assert problems(**change) == []


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        ({"firehose_publishers": []}, "firehose_publishers", "germqtt needs an account"),
        ({"firehose_publishers": [{**GERMQTT, "state": "absent"}]}, "firehose_publishers", "germqtt needs an account"),
        (
            {"firehose_publishers": [{"name": "germqtt", "password_hash": HASH, "topics": ["gerrit/#"]}]},
            "firehose_publishers[0] (germqtt)",
            "a password_hash is not enough",
        ),
        ({"firehose_publishers": [{**GERMQTT, "topics": ["git/#"]}]}, "firehose_publishers[0] (germqtt)", "'gerrit/#'"),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p"}]},
            "firehose_publishers[1] (a)",
            "needs topics",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "topics": ["a"]}]},
            "firehose_publishers[1] (a)",
            "needs one of password",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p", "topics": ["a/#/b"]}]},
            "firehose_publishers[1].topics[0]",
            "'#' must be",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p", "topics": ["$SYS/#"]}]},
            "firehose_publishers[1].topics[0]",
            "belong to the broker",
        ),
        ({"firehose_publishers": [GERMQTT, GERMQTT]}, "firehose_publishers[1] (germqtt)", "same name"),
        ({"firehose_readers": [{"name": "germqtt", "password": "p"}]}, "firehose_readers[0] (germqtt)", "same name"),
        ({"firehose_readers": [{"name": "a:b", "password": "p"}]}, "firehose_readers[0] (a:b)", "':'"),
        (
            {"firehose_readers": [{"name": "a", "password": "p", "sys": ["$SYS/x"]}]},
            "firehose_readers[0].sys[0]",
            "after",
        ),
        ({"firehose_readers": [{"name": "a", "password": "p", "sys": ["x#"]}]}, "firehose_readers[0].sys[0]", "'#'"),
        ({"firehose_publishers": [{**GERMQTT, "topics": "gerrit/#"}]}, "firehose_publishers[0].topics", "a list"),
        ({"firehose_readers": [{"name": "a", "password": "p", "sys": "#"}]}, "firehose_readers[0].sys", "a list"),
        ({"firehose_public_topics": "gerrit/#"}, "firehose_public_topics", "a list"),
        ({"firehose_germqtt": "no"}, "firehose_germqtt", "boolean"),
        ({"firehose_account_listeners": [{"port": 1883}]}, "firehose_account_listeners[0]", "firehose_listeners[0]"),
        ({"firehose_account_listeners": []}, "firehose_account_listeners", "without TLS"),
        (
            {"firehose_account_listeners": [{"port": 1884, "bind_address": "192.0.2.1"}]},
            "firehose_account_listeners",
            "without TLS",
        ),
        ({"firehose_public_sys": ["$SYS/broker"]}, "firehose_public_sys[0]", "after"),
        ({"firehose_readers": [{"name": "firehose-relay", "password": "p"}]}, "firehose_readers[0]", "public broker"),
        (
            {"firehose_readers": [{"name": "firehose-verify-1f", "password": "p"}]},
            "firehose_readers[0] (firehose-verify-1f)",
            "'firehose-verify'",
        ),
        ({"firehose_public_topics": ["$SYS/#"]}, "firehose_public_topics[0]", "belong to the broker"),
        ({"firehose_plain": False}, "firehose_plain", "without firehose_tls"),
        ({"firehose_tls": TLS}, "firehose_tls", "neither firehose_listeners nor"),
        (
            {"firehose_tls": {"key": "/k"}, "firehose_listeners": _firehose.listeners({"key": "/k"}, True)},
            "firehose_tls",
            "needs certificate too",
        ),
        ({"firehose_tls": "/c"}, "firehose_tls", "a dictionary"),
        ({"firehose_source_connections": 0}, "firehose_source_connections", "between 1"),
        ({"firehose_source_kilobytes": 2**23}, "firehose_source_kilobytes", "between 1"),
    ],
)
def test_problems(problems, change, where, why):
    (problem,) = problems(**change)
    assert problem.startswith(f"{where}: ")
    assert why in problem


def test_accounts_leave_out_what_is_no_account():
    assert _firehose.accounts([GERMQTT, {"name": "a", "state": "absent", "topics": []}]) == [
        {"name": "germqtt", "password": "p"},
        {"name": "a", "state": "absent"},
    ]


def test_acl():
    rules = _firehose.acl(
        [GERMQTT, {"name": "gone", "state": "absent", "topics": ["gone/#"]}],
        [{"name": "monitor", "password": "p", "sys": ["x"]}, {"name": "narrow", "password": "p", "topics": ["a/#"]}],
        ["#"],
    )
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


def test_acl_of_the_public():
    assert _firehose.acl([], [], ["#"], ["broker/clients/connected"]) == {
        "anonymous": [
            {"topic": "#", "access": "read"},
            {"topic": "$SYS/broker/clients/connected", "access": "read"},
        ],
        "users": [],
        "patterns": [],
    }


@pytest.mark.parametrize(
    ("publisher", "problem"),
    [
        ({"name": "zuul", "password": "p", "topics": ["zuul/#"]}, None),
        ({"name": "zuul", "state": "absent"}, None),
        ({"name": "zuul", "password": "p"}, "firehose_publisher (zuul): needs topics"),
        ({"name": "zuul", "topics": ["zuul/#"]}, "firehose_publisher (zuul): needs one of password"),
        ({"name": "zuul", "password": "p", "topics": ["zuul/#/x"]}, "firehose_publisher.topics[0]: 'zuul/#/x'"),
        ({"name": "zuul", "password": "p", "topics": ["$SYS/#"]}, "firehose_publisher.topics[0]: '$SYS/#'"),
        ({"name": "zuul", "password": "p", "topics": "zuul/#"}, "firehose_publisher.topics: has to be a list"),
        ({"name": "firehose-verify-1f", "state": "absent"}, None),
        (
            {"name": "firehose-verify-1f", "password": "p", "topics": ["firehose/verify/#"]},
            "firehose_publisher (firehose-verify-1f): names with 'firehose-verify'",
        ),
        ({"name": "zu\nul", "password": "p", "topics": ["a"]}, "firehose_publisher.name: has a line break"),
    ],
)
def test_one_publisher(roles, publisher, problem):
    options = roles["firehose"].specs["publisher"]["options"]
    found = _firehose.publisher_problems({"firehose_publisher": publisher}, options)
    assert len(found) == (1 if problem else 0)
    assert all(line.startswith(problem) for line in found)


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
    found = _firehose.account_listeners(tls)
    assert [(listener.get("bind_address"), listener["port"]) for listener in found] == places
    assert [listener.get("tls") for listener in found] == [None, TLS][: len(found)]
    assert _firehose.local_port(found) == 1884


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
def test_where_the_public_broker_does_not_get_to(listener):
    assert _firehose.local_port([listener]) is None
    assert _firehose.local_port([listener, {"port": 2}]) == 2


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


def test_who_else_may_publish():
    accounts = {"users": [{"name": name} for name in ("zuul", "wiki", "monitor", "gone")]}
    public_rules = {
        "anonymous": [{"topic": "#", "access": "read"}, {"topic": "chat/#", "access": "readwrite"}],
        "users": [],
        "patterns": [{"topic": "of/%u", "access": "write"}, {"topic": "all", "access": "write"}],
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
    assert _firehose.found([zuul, {"name": "gone", "state": "absent"}], accounts, rules, public_rules) == {
        "publishers": [
            {"name": "zuul", "topics": ["zuul/#"], "publishes": True},
            {"name": "wiki", "topics": ["wiki/#"]},
            {"name": "monitor", "topics": []},
            {"name": "gone", "topics": []},
        ],
        "anonymous_topics": ["chat/#", "all"],
    }


def test_what_is_published_from_the_host():
    writers = [
        {"name": "zuul", "topics": ["zuul/#"]},
        {"name": "monitor", "topics": []},
        {"name": "1", "topics": ["a"]},
    ]
    found = {"publishers": writers, "anonymous_topics": ["chat/#"]}
    publishers = [{"name": "monitor", "password": "m"}, {"name": 1, "password": "p"}, {"name": "zuul"}]
    assert _firehose.beacon(found, "1f", ["#"], [{"port": 1883}], publishers) == {
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
    assert _firehose.beacon(found, "1f", ["#"], [])["publishers"] == []


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
def test_where_the_host_itself_reaches_its_broker(listener, endpoint):
    found = {"publishers": [], "anonymous_topics": []}
    assert _firehose.beacon(found, "1f", ["#"], [listener])["endpoint"] == endpoint
    # The first that it gets to is taken.
    others = [{"port": 8, "options": {"psk_hint": "x"}}, listener, {"port": 9}]
    assert _firehose.beacon(found, "1f", ["#"], others)["endpoint"] == (
        endpoint or {"host": "127.0.0.1", "port": 9, "protocol": "mqtt", "tls": False}
    )
