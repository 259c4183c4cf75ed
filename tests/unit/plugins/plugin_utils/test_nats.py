# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from ansible_collections.opendev.firehose.plugins.plugin_utils import _nats

ROLES = Path(__file__).parents[4] / "roles"
SPECS = yaml.safe_load((ROLES / "nats/meta/argument_specs.yml").read_text(encoding="utf-8"))
OPTIONS = SPECS["argument_specs"]["main"]["options"]
DEFAULTS = yaml.safe_load((ROLES / "nats/defaults/main.yml").read_text(encoding="utf-8"))
PATHS = {"certificate": "/c.pem", "key": "/k.pem"}
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(b'000').decode()}\n-----END CERTIFICATE-----"
KEY = CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY")
CLUSTER = {"name": "edges", "hosts": ["one", "two", "2001:db8::3"], "tls": {**PATHS, "ca": "/ca.pem"}}
PUBLIC = {"name": "public", "password": "hunter2", "publish": {"deny": [">"]}}
SYSTEM = {"name": "SYS", "system": True, "users": [{"name": "operator", "password": "hunter2"}]}
EVENTS = {"name": "events", "jetstream": {"max_memory": "1M", "max_storage": 2048}, "users": [PUBLIC]}
FINE = {
    **DEFAULTS,
    "nats_server_name": "one",
    "nats_mqtt": {"no_auth_user": "public"},
    "nats_websocket": {"port": 80, "no_auth_user": "public"},
    "nats_jetstream": {"max_memory": "64M", "max_storage": "1G"},
    "nats_accounts": [EVENTS, SYSTEM],
}


def problems(*, version="2.10.27-1+b1", **changes):
    return _nats.problems({**FINE, **changes}, OPTIONS, version)


def user(**changes):
    return [{**EVENTS, "users": [{**PUBLIC, **changes}]}]


def test_what_is_fine():
    assert problems() == []
    assert problems(version="") == []
    assert problems(nats_cluster=CLUSTER) == []
    assert (
        problems(
            nats_cluster={**CLUSTER, "tls": {"certificate_pem": CERTIFICATE, "key_pem": KEY, "ca_pem": CERTIFICATE}}
        )
        == []
    )
    assert problems(nats_memory_max="2G", nats_monitoring_port=0, nats_max_subscriptions=0) == []
    # The same port, but not the same address.
    assert problems(nats_client={"port": 1883}, nats_mqtt={"bind_address": "192.0.2.1", "no_auth_user": "public"}) == []


def test_the_defaults_alone_are_fine():
    """Everybody may do everything, but only from the host."""
    assert _nats.problems({**DEFAULTS, "nats_server_name": "one"}, OPTIONS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nats_max_connections": "many"}, "nats_max_connections: has to be a whole number"),
        ({"nats_max_connections": 0}, "nats_max_connections: 0 is not between 1"),
        ({"nats_max_payload": 65 * 2**20}, "nats_max_payload: "),
        ({"nats_max_payload": 2, "nats_max_pending": 1}, "nats_max_payload: is more than nats_max_pending"),
        ({"nats_ping_interval": "2 minutes"}, "nats_ping_interval: has to be a number and one of ms"),
        ({"nats_write_deadline": 10}, "nats_write_deadline: "),
        ({"nats_lame_duck_duration": "29s"}, "nats_lame_duck_duration: NATS takes no less than 30s"),
        ({"nats_lame_duck_duration": "0s"}, "nats_lame_duck_duration: "),
        ({"nats_memory_max": "50%"}, "nats_memory_max: has to be a number of bytes"),
        ({"nats_server_name": "a b"}, "nats_server_name: has to be of letters"),
        ({"nats_server_name": ""}, "nats_server_name: "),
        ({"nats_server_name": "a\nb"}, "nats_server_name: has a line break"),
        ({"nats_environment_files": ["/srv/$HOME"]}, "nats_environment_files[0]: this is not the absolute path"),
        ({"nats_client": {"port": 70000}}, "nats_client: port 70000"),
        ({"nats_client": {"bind_address": "a b"}}, "nats_client.bind_address: "),
        ({"nats_client": {"port": 1883}}, "nats_mqtt: nats_client has port 1883 already"),
        ({"nats_websocket": {"port": 1883}}, "nats_websocket: nats_mqtt has port 1883 already"),
        ({"nats_monitoring_port": 4222}, "nats_monitoring_port: nats_client has port 4222 already"),
        ({"nats_monitoring_port": 80}, "nats_monitoring_port: nats_websocket has port 80 already"),
        ({"nats_cluster": {**CLUSTER, "port": 1883}}, "nats_cluster: nats_mqtt has port 1883 already"),
        ({"nats_cluster": {**CLUSTER, "hosts": ["one", "two"]}}, "nats_cluster.hosts: 2 are not enough"),
        ({"nats_cluster": {**CLUSTER, "hosts": ["one"] * 3}}, "nats_cluster.hosts: 'one' is there more than once"),
        ({"nats_cluster": {**CLUSTER, "hosts": ["one", "two", "a/b"]}}, "nats_cluster.hosts[2]: 'a/b' is no name"),
        ({"nats_cluster": {**CLUSTER, "name": ""}}, "nats_cluster.name: "),
        ({"nats_cluster": {**CLUSTER, "name": "my edges"}}, "nats_cluster.name: "),
        ({"nats_cluster": {**CLUSTER, "tls": PATHS}}, "nats_cluster.tls: needs either ca or ca_pem"),
        ({"nats_cluster": {**CLUSTER, "tls": {**PATHS, "ca_pem": "hunter2"}}}, "nats_cluster.tls.ca_pem: this is not a"),
        ({"nats_cluster": {**CLUSTER, "tls": {**PATHS, "ca": "ca.pem"}}}, "nats_cluster.tls.ca: "),
        ({"nats_cluster": {**CLUSTER, "tls": {"ca": "/ca.pem"}}}, "nats_cluster.tls: needs certificate and key"),
        ({"nats_cluster": CLUSTER, "server_names": ["one", "one"]}, "nats_server_name: another server"),
        ({"nats_cluster": CLUSTER, "clusters": [CLUSTER, {**CLUSTER, "name": "x"}]}, "nats_cluster.name: these hosts are"),
        ({"nats_mqtt": {"tls": {"certificate": "/c.pem"}}}, "nats_mqtt.tls: has certificate, and needs key too"),
        ({"nats_mqtt": {"tls": {**PATHS, "key": "/a:b"}}}, "nats_mqtt.tls.key: this is not the absolute path"),
        ({"nats_mqtt": {"session_expiration": "1 day"}}, "nats_mqtt.session_expiration: "),
        ({"nats_mqtt": {"ack_wait": "1w"}}, "nats_mqtt.ack_wait: "),
        ({"nats_mqtt": {"no_auth_user": "nobody"}}, "nats_mqtt.no_auth_user: no account of nats_accounts has"),
        ({"nats_websocket": {"port": 80, "no_auth_user": "nobody"}}, "nats_websocket.no_auth_user: "),
        ({"nats_jetstream": {"max_memory": "64MB", "max_storage": "1G"}}, "nats_jetstream.max_memory: has to be"),
        ({"nats_accounts": [{**EVENTS, "jetstream": {"max_memory": "65M", "max_storage": 1}}]}, "nats_accounts[0].jetstream.max_memory: is more"),
        ({"nats_accounts": [{**EVENTS, "jetstream": {"max_memory": "x", "max_storage": 1}}]}, "nats_accounts[0].jetstream.max_memory: has"),
        ({"nats_accounts": [{**EVENTS, "name": "a b"}]}, "nats_accounts[0].name: "),
        ({"nats_accounts": [{**EVENTS, "system": True}]}, "nats_accounts[0].jetstream: the system account"),
        ({"nats_accounts": [SYSTEM, {**SYSTEM, "name": "SYS2"}]}, "nats_accounts: only one can be the system account"),
        ({"nats_accounts": [EVENTS, EVENTS]}, "nats_accounts: there is more than one account 'events'"),
        ({"nats_accounts": [EVENTS, {**EVENTS, "name": "more"}]}, "nats_accounts: there is more than one user 'public'"),
        ({"nats_accounts": user(name="")}, "nats_accounts[0].users[0].name: "),
        ({"nats_accounts": user(name="nats-sessions.events")}, "nats_accounts[0].users[0].name: "),
        ({"nats_accounts": user(password=None)}, "nats_accounts[0].users[0].password: has to be a text"),
        ({"nats_accounts": user(password="")}, "nats_accounts[0].users[0].password: cannot be empty"),
        ({"nats_accounts": user(password="hunter2\n")}, "nats_accounts[0].users[0].password: has a line break"),
        ({"nats_accounts": user(password_env="PASSWORD")}, "nats_accounts[0].users[0].password: needs either"),
        ({"nats_accounts": user(password_env="user")}, "nats_accounts[0].users[0].password_env: has to be of capital"),
        ({"nats_accounts": user(publish={"deny": ["a b"]})}, "nats_accounts[0].users[0].publish.deny: 'a b' is no subject"),
        ({"nats_accounts": user(publish={"deny": ["a..b"]})}, "nats_accounts[0].users[0].publish.deny: "),
        ({"nats_accounts": user(connection_types=["STANDARD"])}, "nats_mqtt: needs nats_jetstream, and an account"),
        ({"nats_accounts": []}, "nats_accounts: needs a user"),
        ({"version": "2.9.10-1+b5"}, "the role nats needs NATS 2.10 or later"),
    ],
)  # fmt: skip
def test_what_is_refused(change, said):
    found = problems(**change)
    assert [problem for problem in found if problem.startswith(said)], found
    assert "hunter2" not in str(found)


def test_everybody_is_let_in_from_the_host_alone():
    open_to_all = {**DEFAULTS, "nats_server_name": "one"}
    for change in ({"nats_client": {"bind_address": "0.0.0.0"}}, {"nats_websocket": {"port": 80}}):
        [problem] = _nats.problems({**open_to_all, **change}, OPTIONS)
        assert problem.startswith("nats_accounts: needs a user")
    assert _nats.problems({**open_to_all, "nats_client": {"bind_address": "::1"}}, OPTIONS) == []


def test_jetstream_of_an_account_needs_that_of_the_server():
    without = {key: value for key, value in FINE.items() if key not in ("nats_jetstream", "nats_mqtt")}
    assert _nats.problems(without, OPTIONS) == ["nats_accounts[0].jetstream: needs nats_jetstream"]


@pytest.mark.parametrize(("text", "number"), [(5, 5), ("7", 7), ("2K", 2048), ("3M", 3 * 2**20), ("1T", 2**40)])
def test_a_size(text, number):
    assert _nats.size(text) == number


@pytest.mark.parametrize(("text", "number"), [("5ms", 5), ("2s", 2000), ("1h", 3_600_000), ("2d", 172_800_000)])
def test_a_duration(text, number):
    assert _nats.milliseconds(text) == number


def test_the_configuration_of_the_defaults():
    assert _nats.config({**DEFAULTS, "nats_server_name": "one"}) == (
        'server_name: "one"\nhost: "127.0.0.1"\nport: 4222\nhttp: "127.0.0.1:8222"\n'
        "max_connections: 10000\nmax_subscriptions: 1000\nmax_payload: 1048576\nmax_pending: 16777216\n"
        'max_control_line: 4096\nwrite_deadline: "10s"\nping_interval: "2m"\nping_max: 2\nlame_duck_duration: "2m"\n'
        "logtime: false\n"
    )


def test_texts_are_what_they_were():
    """NATS takes a quoted dollar for one, and knows no other escapes than these."""
    text = _nats.config({**FINE, "nats_accounts": user(password='a"b\\c $HOME ä #x {')})
    assert '        password: "a\\"b\\\\c $HOME ä #x {"\n' in text
    text = _nats.config({**FINE, "nats_accounts": [{**EVENTS, "users": [{"name": "x", "password_env": "WORD"}]}]})
    assert "        password: $WORD\n" in text


def test_a_cluster():
    text = _nats.config({**FINE, "nats_cluster": CLUSTER, "nats_mqtt": {**FINE["nats_mqtt"], "ack_wait": "1d"}})
    routes = '"nats-route://one:6222", "nats-route://two:6222", "nats-route://[2001:db8::3]:6222"'
    assert f"  routes: [{routes}]\n  no_advertise: true\n" in text
    assert '    ca_file: "/run/nats-server/cluster-ca.pem"\n    min_version: "1.2"\n' in text
    assert '  stream_replicas: 3\n  ack_wait: "24h"\n' in text
    assert "no_advertise" not in _nats.config({**FINE, "nats_cluster": CLUSTER, "nats_client": {"bind_address": "::"}})


def test_an_account():
    text = _nats.config(FINE)
    assert "    jetstream: {\n      max_memory: 1048576\n      max_store: 2048\n    }\n" in text
    assert '        permissions: {\n          publish: {\n            deny: [">"]\n          }\n        }\n' in text
    assert text.endswith('system_account: "SYS"\n')
    assert "nats-sessions" not in text


def test_who_says_how_long_sessions_are_kept():
    variables = {**FINE, "nats_mqtt": {"session_expiration": "1d"}, "nats_cluster": CLUSTER}
    assert _nats.service(variables, "/x")["sessions"] == {
        "address": "127.0.0.1",
        "port": 4222,
        "seconds": 86400,
        "replicas": 3,
        "users": ["nats-sessions.events:170"],
    }
    text = _nats.config(variables)
    assert text.count('user: "nats-sessions.') == 1
    assert 'password: $NATS_SESSIONS_PASSWORD\n        allowed_connection_types: ["STANDARD"]\n' in text
    everywhere = {
        **variables,
        "nats_client": {"bind_address": "::", "port": 5},
        "nats_mqtt": {"session_expiration": "5ms"},
    }
    sessions = _nats.service(everywhere, "/x")["sessions"]
    assert (sessions["address"], sessions["port"], sessions["seconds"]) == ("127.0.0.1", 5, 1)
    assert _nats.service(FINE, "/x")["sessions"] == {}


def test_certificates_are_files_or_texts():
    texts = {"certificate_pem": f"{CERTIFICATE}\n\n", "key_pem": "key"}
    found = _nats.service({**FINE, "nats_mqtt": {"tls": texts}, "nats_cluster": CLUSTER}, "/x")
    assert [(file["path"], file["mode"], file["secret"]) for file in found["files"]] == [
        ("/x/mqtt-certificate.pem", "0600", True),
        ("/x/mqtt-key.pem", "0600", True),
    ]
    assert found["files"][0]["content"] == f"{CERTIFICATE}\n"
    assert [(copy["src"], copy["dest"]) for copy in found["copies"]] == [
        ("/x/mqtt-certificate.pem", "/run/nats-server/mqtt-certificate.pem"),
        ("/x/mqtt-key.pem", "/run/nats-server/mqtt-key.pem"),
        ("/c.pem", "/run/nats-server/cluster-certificate.pem"),
        ("/k.pem", "/run/nats-server/cluster-key.pem"),
        ("/ca.pem", "/run/nats-server/cluster-ca.pem"),
    ]


def test_what_the_unit_needs():
    assert _nats.service(FINE, "/x")["has_privileged_port"]
    assert not _nats.service({**FINE, "nats_websocket": {"port": 8080}}, "/x")["has_privileged_port"]
    assert not _nats.service({**FINE, "nats_websocket": {"port": 8080}, "nats_monitoring_port": 0}, "/x")[
        "has_privileged_port"
    ]
    assert _nats.service(FINE, "/x")["go_memory"] is None
    assert _nats.service({**FINE, "nats_memory_max": "1G"}, "/x")["go_memory"] == 966367641
