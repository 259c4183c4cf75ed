# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that the role mosquitto rejects."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto

FINE = {
    "mosquitto_listeners": [{"port": 1883}, {"port": 80, "protocol": "websockets"}, {"socket": "/run/mosquitto/s"}],
    "mosquitto_users": [{"name": "alice", "password": "p"}],
    "mosquitto_acl": {
        "anonymous": [{"topic": "#"}],
        "users": [{"name": "alice", "rules": [{"topic": "a/#", "access": "write"}]}],
        "patterns": [{"topic": "clients/%u/#", "access": "readwrite"}],
    },
    "mosquitto_bridges": [
        {"name": "core", "addresses": ["core:1883"], "topics": [{"pattern": "#", "direction": "in"}]}
    ],
    "mosquitto_options": {"set_tcp_nodelay": True},
}
LONG_SALT = f"$7$1000${base64.b64encode(bytes(64)).decode()}${base64.b64encode(bytes(64)).decode()}"
ARGON2 = "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"


TLS = {"certificate": "/etc/letsencrypt/live/x/fullchain.pem", "key": "/etc/letsencrypt/live/x/privkey.pem"}
TEXTS = {
    "certificate_pem": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    "key_pem": "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
}


@pytest.fixture
def problems(roles):
    role = roles["mosquitto"]

    def find(version="2.0.21-1", **changed):
        return _mosquitto.problems({**role.defaults, **FINE, **changed}, role.options, version)

    return find


@pytest.mark.parametrize("version", ["", "2.0.11-1.2+deb12u2", "2.0.21-1", "2.1.2-3", "1:2.1"])
def test_valid_variables(problems, version):
    assert problems(version) == []


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.0.11-1.2+deb12u2", (2, 0, 11)), ("1:2.1.2~rc1-3", (2, 1, 2)), ("2.1", (2, 1)), ("", ()), ("x", ())],
)
def test_versions(version, numbers):
    assert _mosquitto.parse_version(version) == numbers


@pytest.mark.parametrize(
    ("listeners", "where", "why"),
    [
        ([], "mosquitto_listeners", "at least one"),
        ([{}], "mosquitto_listeners[0]", "either port or socket"),
        ([{"port": 1, "socket": "/run/x"}], "mosquitto_listeners[0]", "either port or socket"),
        ([{"port": 1883}, {"port": 0}], "mosquitto_listeners[1]", "not between"),
        ([{"port": 65536}], "mosquitto_listeners[0]", "not between"),
        ([{"socket": "relative"}], "mosquitto_listeners[0]", "absolute"),
        ([{"socket": f"/run/{'x' * 103}"}], "mosquitto_listeners[0]", "108 characters; Linux takes at most 107"),
        ([{"socket": "/run/x", "bind_address": "::1"}], "mosquitto_listeners[0]", "no bind_address"),
        ([{"port": 1}, {"socket": "/run/x", "protocol": "websockets"}], "mosquitto_listeners[1]", "no websockets"),
        ([{"port": 1, "mount_point": "a/#"}], "mosquitto_listeners[0]", "wildcards"),
        ([{"port": 1883}, {"port": 1883, "protocol": "websockets"}], "mosquitto_listeners[1]", "already"),
        ([{"port": 1, "bind_address": "::1"}, {"port": 1}], "mosquitto_listeners[1]", "already"),
        (
            [{"port": 1, "bind_address": "0.0.0.0"}, {"port": 1, "bind_address": "10.0.0.1"}],
            "mosquitto_listeners[1]",
            "already",
        ),
        ([{"socket": "/run/x"}, {"port": 1}, {"socket": "/run/x"}], "mosquitto_listeners[2]", "already"),
        ([{"port": 80, "protocol": "websockets"}], "mosquitto_listeners", "websockets only"),
        (
            [{"port": 1}, {"port": 80, "protocol": "websockets", "bind_address": "localhost"}],
            "mosquitto_listeners[1]",
            "numeric",
        ),
        ([{"port": 1, "options": {"protocol": "mqtt"}}], "mosquitto_listeners[0].options.protocol", "the role writes"),
        (
            [{"port": 1, "options": {"websockets_origin": "x"}}],
            "mosquitto_listeners[0].options.websockets_origin",
            "2.0.21",
        ),
        ([{"socket": "/run/x", "tls": TLS}], "mosquitto_listeners[0]", "unix socket"),
        ([{"port": 1, "bind_address": "../x"}], "mosquitto_listeners[0]", "slashes"),
        ([{"port": 1, "tls": {}}], "mosquitto_listeners[0].tls", "needs certificate"),
        (
            [{"port": 1}, {"port": 2, "protocol": "websockets", "tls": {**TLS, "minimum": "1.3"}}],
            "mosquitto_listeners[1].tls.minimum",
            "before 2.1",
        ),
        (
            [{"port": 1, "options": {"certfile": "/c"}}],
            "mosquitto_listeners[0].options.certfile",
            "from mosquitto_listeners[0].tls.certificate",
        ),
        ([{"port": 1, "options": {"tls_version": "tlsv1.1"}}], "mosquitto_listeners[0].options.tls_version", "minimum"),
        (
            [{"port": 1, "tls": TLS, "options": {"psk_hint": "x"}}],
            "mosquitto_listeners[0].options.psk_hint",
            "either pre-shared keys or",
        ),
    ],
)
def test_listeners(problems, listeners, where, why):
    found = problems(mosquitto_listeners=listeners)
    assert len(found) == 1
    assert found[0].startswith(f"{where}: ")
    assert why in found[0]


@pytest.mark.parametrize(
    "listeners",
    [
        [{"port": 1883, "bind_address": "127.0.0.1"}, {"port": 1883, "bind_address": "10.0.0.1"}],
        [{"port": 1883}, {"socket": "/run/x"}, {"socket": "/run/y"}],
        [{"port": 8883, "tls": {**TLS, "minimum": 1.3}}, {"port": 443, "protocol": "websockets", "tls": TLS}],
        [{"port": 8883, "tls": TEXTS}],
        [{"port": 8884, "options": {"psk_hint": "x", "ciphers": "PSK", "tls_version": "tlsv1.2"}}],
    ],
)
def test_valid_combinations_of_listeners(problems, listeners):
    assert problems(mosquitto_listeners=listeners) == []


def test_websockets_with_only_tls_1_3_are_valid_since_2_1(problems):
    listeners = [{"port": 443, "protocol": "websockets", "tls": {**TLS, "minimum": "1.3"}}]
    assert problems("2.1.2-3", mosquitto_listeners=listeners) == []


def test_only_websockets_listeners_are_valid_since_2_1(problems):
    assert problems("2.1.2-3", mosquitto_listeners=[{"port": 80, "protocol": "websockets"}]) == []


@pytest.mark.parametrize("password_hash", [LONG_SALT, ARGON2])
def test_hashes_that_need_2_1(problems, password_hash):
    users = [{"name": "alice", "password_hash": password_hash}]
    assert problems("2.1.2-3", mosquitto_users=users) == []
    (problem,) = problems("2.0.21-1", mosquitto_users=users)
    assert problem.startswith("mosquitto_users[0] (alice): Mosquitto before 2.1")


@pytest.mark.parametrize(
    ("acl", "where"),
    [
        ({"anonymous": [{"topic": "a#"}]}, "mosquitto_acl.anonymous[0]"),
        ({"patterns": [{"topic": "#/a"}]}, "mosquitto_acl.patterns[0]"),
        (
            {"users": [{"name": "a", "rules": [{"topic": "x"}, {"topic": " y"}]}]},
            "mosquitto_acl.users[0].rules[1]",
        ),
        ({"users": [{"name": "a:b"}]}, "mosquitto_acl.users[0]"),
        ({"users": [{"name": "a"}, {"name": "a"}]}, "mosquitto_acl.users[1]"),
    ],
)
def test_acl(problems, acl, where):
    (problem,) = problems(mosquitto_acl=acl)
    assert problem.startswith(f"{where}: ")


@pytest.mark.parametrize("rules", ["anonymous", "patterns"])
def test_a_rule_for_anonymous_publishing_must_be_allowed(problems, rules):
    acl = {rules: [{"topic": "a"}, {"topic": "b", "access": "write"}]}
    (problem,) = problems(mosquitto_acl=acl)
    assert problem.startswith(f"mosquitto_acl.{rules}[1]: 'write b' lets clients without a name publish")
    assert problems(mosquitto_acl=acl, mosquitto_acl_allow_anonymous_publish=True) == []


@pytest.mark.parametrize(
    ("account", "problem"),
    [
        ({"name": "a", "password": "p", "rules": [{"topic": "a/#", "access": "write"}]}, None),
        ({"name": "a", "state": "absent"}, None),
        ({"name": "a"}, "mosquitto_account (a): needs one of password"),
        ({"name": "a", "password_hash": ARGON2}, "mosquitto_account (a): Mosquitto before 2.1"),
        ({"name": "a", "password": "p", "rules": [{"topic": "a#"}]}, "mosquitto_account.rules[0]: 'a#'"),
        ({"name": "a", "password": "p", "rules": "a"}, "mosquitto_account.rules: has to be a list"),
    ],
)
def test_one_account(roles, account, problem):
    options = roles["mosquitto"].specs["account"]["options"]
    found = _mosquitto.account_problems({"mosquitto_account": account}, options, "2.0.21-1")
    assert len(found) == (1 if problem else 0)
    assert all(line.startswith(problem) for line in found)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": ""}, "mosquitto_bridges[0].name"),
        ({"addresses": ["a:1 b:1"]}, "mosquitto_bridges[0].addresses[0]"),
        ({"username": "u", "password": " p"}, "mosquitto_bridges[0].password"),
        ({"options": {"topic": "x"}}, "mosquitto_bridges[0].options.topic"),
        ({"addresses": []}, "mosquitto_bridges[0].addresses"),
        ({"topics": []}, "mosquitto_bridges[0].topics"),
        ({"topics": [{"pattern": "a b"}]}, "mosquitto_bridges[0].topics[0]"),
        ({"topics": [{"pattern": "#", "local_prefix": "a b"}]}, "mosquitto_bridges[0].topics[0]"),
        ({"topics": [{"pattern": "a#"}]}, "mosquitto_bridges[0].topics[0]"),
        ({"password": "p"}, "mosquitto_bridges[0].password"),
        ({"options": {"bridge_receive_maximum": 1}}, "mosquitto_bridges[0].options.bridge_receive_maximum"),
    ],
)
def test_bridges(problems, change, where):
    (problem,) = problems(mosquitto_bridges=[{**FINE["mosquitto_bridges"][0], **change}])
    assert problem.startswith(f"{where}: ")


def test_two_bridges_with_the_same_name(problems):
    (problem,) = problems(mosquitto_bridges=FINE["mosquitto_bridges"] * 2)
    assert problem.startswith("mosquitto_bridges[1].name: ")


@pytest.mark.parametrize(
    "name",
    [
        "listener",
        "password_file",
        "Bad Name",
        "global_max_connections",
        "use_username_as_clientid",
        "certfile",
        "topic",
    ],
)
def test_options(problems, name):
    (problem,) = problems(mosquitto_options={name: 1})
    assert problem.startswith(f"mosquitto_options.{name}: ")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mosquitto_allow_anonymous": "yes"}, "boolean"),
        ({"mosquitto_persistence": "false"}, "boolean"),
        ({"mosquitto_max_keepalive": 99999}, "65535"),
        ({"mosquitto_max_keepalive": 9}, "not between 10 and 65535; 0 is no limit"),
        ({"mosquitto_max_keepalive": -1}, "not between"),
        ({"mosquitto_max_keepalive": "600"}, "whole number"),
        ({"mosquitto_max_packet_size": -1}, "not between"),
        ({"mosquitto_persistent_client_expiration": "1 day"}, "1d"),
        ({"mosquitto_persistent_client_expiration": "1d\nallow_anonymous true"}, "line break"),
        ({"mosquitto_umask": 23}, "octal"),
        ({"mosquitto_log_types": "error"}, "a list"),
        ({"mosquitto_options": {"a": "b\nc"}}, "line break"),
    ],
)
def test_values(problems, change, why):
    [(name, _value)] = change.items()
    (problem,) = problems(**change)
    assert problem.startswith(name)
    assert why in problem


BRIDGE = FINE["mosquitto_bridges"][0]


@pytest.mark.parametrize(
    ("change", "secret"),
    [
        ({}, False),
        ({"bridges": [{**BRIDGE, "password": "p"}]}, True),
        ({"bridges": [{**BRIDGE, "options": {"bridge_psk": "p"}}]}, True),
        ({"options": {"plugin_opt_x": "p"}}, True),
    ],
)
def test_has_secrets(change, secret):
    assert (
        _mosquitto.has_secrets({"listeners": [{"port": 1883}], "bridges": [BRIDGE], "options": {}, **change}) is secret
    )


def test_instances_have_the_other_variables_as_defaults(problems):
    listener = {"port": 1885}
    instances = [{"name": ""}, {"name": "public", "accounts": False, "users": [], "listeners": [listener]}]
    assert problems(mosquitto_instances=instances) == []
    # Without its own list, the second one would have no accounts but users.
    del instances[1]["users"]
    assert problems(mosquitto_instances=instances) == [
        "mosquitto_instances[1].accounts: the broker has none, but mosquitto_users lists some"
    ]


@pytest.mark.parametrize(
    ("instance", "where"),
    [
        ({}, "mosquitto_instances[1].name: has to be at most 22"),
        ({"name": "Public"}, "mosquitto_instances[1].name: has to be at most 22"),
        ({"name": 0}, "mosquitto_instances[1].name: has to be at most 22"),
        ({"name": "x" * 23}, "mosquitto_instances[1].name: has to be at most 22"),
        ({"name": "first"}, "mosquitto_instances[1].name: mosquitto_instances[0] is called 'first' already"),
        ({"name": "a", "listener": []}, "mosquitto_instances[1].listener: there is no such key"),
        ({"name": "a", "wait_timeout": 1}, "mosquitto_instances[1].wait_timeout: there is no such key"),
        ({"name": "a", "persistence": "no"}, "mosquitto_instances[1].persistence: has to be a boolean"),
        ({"name": "a", "listeners": [{"port": 0}]}, "mosquitto_instances[1].listeners[0]"),
        ({"name": "a", "listeners": [{"prt": 1}]}, "mosquitto_instances[1].listeners[0].prt: there is no such key"),
        ({"name": "a", "users": [{"name": ""}]}, "mosquitto_instances[1].users[0]"),
        ({"name": "a", "umask": "x"}, "mosquitto_instances[1].umask: "),
        ({"name": "a", "queue_qos0_messages": "no"}, "mosquitto_instances[1].queue_qos0_messages: "),
        (
            {"name": "a", "listeners": [{"port": 0}], "variables": {"listeners": "my_listeners"}},
            "my_listeners[0]",
        ),
    ],
)
def test_a_problem_of_an_instance_has_its_place(problems, instance, where):
    found = problems(mosquitto_instances=[{"name": "first"}, instance])
    assert found[0].startswith(where)


def test_two_brokers_cannot_have_the_same_port(problems):
    listener = {"port": 1883, "bind_address": "127.0.0.1"}
    instances = [{"name": ""}, {"name": "relay", "listeners": [listener]}]
    assert problems(mosquitto_instances=instances) == [
        "mosquitto_instances: mosquitto.service and relay both listen on port 1883; give each its own listeners"
    ]


def test_the_variable_of_other_entry_points_is_rejected(problems):
    (problem,) = problems(mosquitto_instance="relay")
    assert problem.startswith("mosquitto_instance: ")


def test_an_invalid_default_is_reported_once(problems):
    instances = [{"name": ""}, {"name": "public"}]
    (problem,) = problems(mosquitto_instances=instances, mosquitto_sys_interval=-1)
    assert problem.startswith("mosquitto_sys_interval: ")


@pytest.mark.parametrize("line_break", ["\n", "\r", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_line_break_is_rejected_and_not_quoted(problems, line_break):
    bridge = {**FINE["mosquitto_bridges"][0], "username": "u", "password": f"secret{line_break}allow_anonymous true"}
    (problem,) = problems(mosquitto_bridges=[bridge])
    assert problem.startswith("mosquitto_bridges[0].password: ")
    assert "secret" not in problem


@pytest.mark.parametrize(("version", "wrong"), [("2.0.21-1", True), ("2.1.2-3", False), ("", False)])
def test_the_sqlite_plugin_is_part_of_2_1(problems, version, wrong):
    found = problems(version, mosquitto_persistence_method="sqlite")
    assert [problem.partition(":")[0] for problem in found] == ["mosquitto_persistence_method"] * wrong
    assert problems(version, mosquitto_persistence_method="auto") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mosquitto_persistence_method", "wal"),
        ("mosquitto_persistence_sync", "off"),
        ("mosquitto_autosave_changes", 0),
        ("mosquitto_persistence_reserve", -1),
    ],
)
def test_invalid_persistence_values(problems, name, value):
    (problem,) = problems(**{name: value})
    assert problem.startswith(name)


@pytest.mark.parametrize("option", ["plugin_opt_db_file", "plugin_opt_sync", "plugin_opt_flush_period"])
def test_options_of_the_sqlite_plugin_are_rejected(problems, option):
    (problem,) = problems("2.1.2-3", mosquitto_options={option: "1"})
    assert problem.startswith(f"mosquitto_options.{option}: ")
