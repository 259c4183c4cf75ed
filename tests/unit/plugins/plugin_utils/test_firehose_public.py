# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public

ROLES = Path(__file__).parents[4] / "roles"
SPECS = yaml.safe_load((ROLES / "firehose_public/meta/argument_specs.yml").read_text(encoding="utf-8"))
OPTIONS = SPECS["argument_specs"]["main"]["options"]
PUBLIC_OPTIONS = SPECS["argument_specs"]["validate"]["options"]
DEFAULTS = yaml.safe_load((ROLES / "firehose_public/defaults/main.yml").read_text(encoding="utf-8"))
PATHS = {"certificate": "/c.pem", "key": "/k.pem"}
TEXTS = {"certificate_pem": "a certificate\n\n", "key_pem": "a key"}
FINE = {
    **DEFAULTS,
    "firehose_edge_core_host": "firehose01.example.org",
    "firehose_edge_password": "hunter2",
    "firehose_listeners": [{"port": 1883}, {"port": 443, "protocol": "websockets", "tls": PATHS}],
    "group_names": ["firehose_edges"],
}


def problems(**changes):
    """The problems that both validations of an edge host report."""
    variables = {**FINE, **changes}
    public = {name: value for name, value in variables.items() if name in PUBLIC_OPTIONS}
    return _firehose_public.edge_problems(variables, OPTIONS) + _firehose_public.problems(public, PUBLIC_OPTIONS)


def test_the_defaults_of_the_role_are_valid():
    assert problems() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"firehose_public_brokers": "two"}, "firehose_public_brokers: has to be a whole number"),
        ({"firehose_public_brokers": 1000}, "firehose_public_brokers: 1000 is not between"),
        ({"firehose_edge_core_port": 65536}, "firehose_edge_core_port: 65536"),
        ({"firehose_edge_core_host": "a host"}, "firehose_edge_core_host: "),
        ({"firehose_edge_core_host": "a\nb"}, "firehose_edge_core_host: has a line break"),
        ({"firehose_edge_core_ca": "ca.pem"}, "firehose_edge_core_ca: "),
        ({"firehose_edge_core_ca_pem": "hunter2"}, "firehose_edge_core_ca_pem: this is not a certificate"),
        ({"firehose_edge_password": ""}, "firehose_edge_password: "),
        ({"firehose_listeners": []}, "firehose_listeners: at least one"),
        ({"firehose_listeners": [{"port": 1883, "options": {"x": 1}}]}, "firehose_listeners[0].options: remove it"),
        (
            {"firehose_listeners": [{"port": 1883, "max_connections": 5}]},
            "firehose_listeners[0].max_connections: use firehose_max_",
        ),
        (
            {"firehose_listeners": [{"port": 1883, "max_qos": 1}]},
            "firehose_listeners[0].max_qos: remove it; anonymous clients get QoS 0",
        ),
        ({"firehose_listeners": [{"port": 1883, "mount_point": "a/"}]}, "firehose_listeners[0].mount_point: remove it"),
        (
            {"firehose_listeners": [{"socket": "/run/x/y"}]},
            "firehose_listeners[0].socket: use firehose_account_listeners",
        ),
        (
            {"firehose_listeners": [{"port": 1883, "adress": ""}]},
            "firehose_listeners[0].adress: there is no such key; did you mean bind_address?",
        ),
        (
            {"firehose_listeners": [{"port": 1883, "bind_address": "localhost"}]},
            "firehose_listeners[0].bind_address: 'localhost' is no IP",
        ),
        (
            {"firehose_listeners": [{"port": 1, "tls": {**PATHS, "require_certificate": True, "ca": "/ca.pem"}}]},
            "firehose_listeners[0].tls.require_certificate: use firehose_account_listeners",
        ),
        ({"group_names": ["firehose", "firehose_edges"]}, "firehose_edges: this host is in the group firehose too"),
    ],
)
def test_invalid_variables(change, said):
    found = problems(**change)
    assert [problem for problem in found if problem.startswith(said)], found
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("memory", "connections", "warned"),
    [("1G", 32, False), ("1G", 1000, True), ("512M", 32, True), ("50%", 1000, False), ("infinity", 1000, False)],
)
def test_limits_of_addresses_that_exceed_the_memory_of_a_broker(roles, memory, connections, warned):
    changed = {"firehose_max_memory": memory, "firehose_source_connections": connections}
    found = _firehose_public.memory_warnings({**roles["firehose_public"].defaults, **changed})
    assert bool(found) is warned
    if warned:
        assert f"GiB of a public broker for topic filters, and firehose_max_memory is {memory}" in found[0]


def test_a_listener_becomes_a_frontend():
    listeners = [
        {"port": 1883},
        {"port": 80, "protocol": "websockets", "bind_address": "192.0.2.1"},
        {"port": 8883, "tls": {**PATHS, "minimum": "1.3", "ciphers": "A:B"}},
        {"port": 443, "protocol": "websockets", "tls": TEXTS},
        {"port": 8443, "protocol": "websockets", "tls": TEXTS, "bind_address": "2001:db8::1"},
    ]
    certificate = {"require_certificate": True, "ca": "/ca.pem"}
    for_accounts = [{"port": 8884, "max_connections": 5, "tls": {**PATHS, **certificate}}]
    variables = {"firehose_listeners": listeners, "accounts": for_accounts}
    found, [account] = _firehose_public.served(variables, "/etc/x")["frontends"].values()
    assert account["tls_options"] == (
        " ssl crt /etc/x/link-fb6a46de.pem ssl-min-ver TLSv1.2 verify required ca-file /ca.pem"
    )
    assert account["max_connections"] == 5
    assert account["place"] == {"bind_address": "", "port": 8884, "variable": "accounts"}
    assert not any(one["max_connections"] for one in found)
    assert [(one["name"], *one["answers"].values()) for one in found] == [
        ("1883", "127.0.0.1", 1883, "mqtt", False),
        ("80-192.0.2.1", "192.0.2.1", 80, "websockets", False),
        ("8883", "127.0.0.1", 8883, "mqtt", True),
        ("443", "127.0.0.1", 443, "websockets", True),
        ("8443-2001:db8::1", "2001:db8::1", 8443, "websockets", True),
    ]
    assert [one["listen"] for one in found] == ["1883", "192.0.2.1:80", "8883", "443", "[2001:db8::1]:8443"]
    assert [one["tls_options"] for one in found] == [
        "",
        "",
        " ssl crt /etc/x/link-fb6a46de.pem ssl-min-ver TLSv1.3 ciphers A:B",
        " ssl crt /etc/x/text-2.pem ssl-min-ver TLSv1.2 alpn http/1.1",
        " ssl crt /etc/x/text-2.pem ssl-min-ver TLSv1.2 alpn http/1.1",
    ]


def test_other_paths_are_linked_elsewhere():
    """The configuration of HAProxy, which is validated first, then differs."""
    found = [
        _firehose_public.served({"x": [{"port": 1, "tls": {**PATHS, **change}}]}, "/x")
        for change in ({}, {"key": "/l.pem"})
    ]
    assert not {link["path"] for link in found[0]["links"]} & {link["path"] for link in found[1]["links"]}


def test_certificates_are_where_haproxy_looks_for_them():
    listeners = [{"port": 1883}, {"port": 8883, "tls": PATHS}]
    accounts = [{"port": 443, "tls": TEXTS}, {"port": 8443, "tls": TEXTS}]
    other = {"port": 9, "tls": {"certificate": "/other.pem", "key": "/other.key"}}
    found = _firehose_public.served({"x": listeners, "y": accounts}, "/etc/x", [other])
    assert found["links"] == [
        {"path": "/etc/x/link-fb6a46de.pem", "src": "/c.pem"},
        {"path": "/etc/x/link-fb6a46de.pem.key", "src": "/k.pem"},
    ]
    assert [(file["path"], file["content"]) for file in found["files"]] == [
        ("/etc/x/text-2.pem", "a certificate\n"),
        ("/etc/x/text-2.pem.key", "a key\n"),
    ]
    assert all(file["secret"] and file["mode"] == "0600" for file in found["files"])
    # All of them are validated.
    assert found["tls_pairs"] == [
        {"port": 8883, **PATHS},
        {"port": 443, **TEXTS},
        {"port": 8443, **TEXTS},
        {"port": 9, **other["tls"]},
    ]


def test_ports_that_other_hosts_reach():
    local = {"bind_address": "127.0.0.1"}
    listeners = {"x": [{"port": 1883}, {"port": 1, **local}], "y": [{"port": 8884, "bind_address": "192.0.2.1"}]}
    others = [{"socket": "/run/x/y"}, {"port": 800, **local}, {"port": 9, "bind_address": "localhost"}, {"port": 10}]
    found = _firehose_public.served(listeners, "/etc/x", others)
    assert found["ports"] == {"x": [1883], "y": [8884]}
    assert found["other_ports"] == [10]
    assert _firehose_public.served(listeners, "/etc/x")["other_ports"] == []
