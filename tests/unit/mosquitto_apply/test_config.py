# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""mosquitto.conf as the command parses it."""

from __future__ import annotations

import pytest
from mosquitto_apply import config
from mosquitto_apply.problem import Problem

TEXT = """\
  # a comment
persistence true
password_file /etc/mosquitto/passwd
listener 1883
max_connections 10
listener 80 192.0.2.1
protocol websockets
certfile /etc/certs/fullchain.pem
listener 0 /run/mosquitto/broker.sock
connection core
address 127.0.0.1:1884
bridge_cafile /etc/ssl/ca.pem
"""


@pytest.fixture
def lines():
    return config.parse(TEXT)


def test_lines_have_their_numbers(lines):
    assert lines[0] == (2, "persistence", "true")
    assert lines[-1] == (12, "bridge_cafile", "/etc/ssl/ca.pem")


@pytest.mark.parametrize("line_break", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_ends_as_in_the_broker(line_break):
    text = f"remote_password pw{line_break}listener 1999\nlistener 1883\n"
    assert config.parse(text) == [
        (1, "remote_password", f"pw{line_break}listener 1999"),
        (2, "listener", "1883"),
    ]
    assert config.in_set(text, "/set", {}) == text


def test_files_that_the_broker_reads_are_found(lines):
    assert [line.value for line in config.files(lines)] == [
        "/etc/mosquitto/passwd",
        "/etc/certs/fullchain.pem",
        "/etc/ssl/ca.pem",
    ]


def test_listeners_do_not_get_options_of_bridges(lines):
    plain, secure, local = config.listeners(lines)
    assert (plain.port, plain.protocol, plain.options) == (1883, "mqtt", {"max_connections": "10"})
    assert (secure.address, secure.protocol, secure.has_tls) == ("192.0.2.1", "websockets", True)
    assert (local.socket, local.port, local.options) == ("/run/mosquitto/broker.sock", 0, {})


@pytest.mark.parametrize(
    ("address", "host"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")]
)
def test_the_address_at_which_the_host_reaches_a_listener(address, host):
    [listener] = config.listeners(config.parse(f"listener 80 {address}"))
    assert listener.endpoint == {"host": host, "port": 80, "protocol": "mqtt", "tls": False}


@pytest.mark.parametrize("option", ["require_certificate true", "psk_hint x", "enable_proxy_protocol 2"])
def test_listeners_that_need_a_client_secret_are_not_checked(option):
    [listener] = config.listeners(config.parse(f"listener 8883\n{option}"))
    assert not listener.is_askable


def test_paths_are_replaced_by_those_of_the_set():
    text = config.in_set(TEXT, "/etc/mosquitto/live/files", {})
    assert "\npassword_file /etc/mosquitto/live/files/etc/mosquitto/passwd\n" in text
    assert "\nbridge_cafile /etc/mosquitto/live/files/etc/ssl/ca.pem\n" in text
    assert "\nlistener 0 /run/mosquitto/broker.sock\n" in text


def test_password_files_are_replaced_by_their_contents():
    text = config.in_set("remote_password @/etc/word\n", "/x", {"/etc/word": "secret"})
    assert text == "remote_password secret\n"


@pytest.mark.parametrize("line", ["include_dir /etc/mosquitto/conf.d", "port 1883", "acl_file acl", "certfile"])
def test_unsupported_options_are_rejected_with_their_line(line):
    with pytest.raises(Problem, match=r"^x\.conf, line 2: "):
        config.check(config.parse(f"persistence true\n{line}"), "x.conf")


@pytest.mark.parametrize(
    ("before", "after", "restart"),
    [
        ("log_type error", "log_type warning\nlog_type error", False),
        ("sys_interval 10", "", False),
        # It reads them, and continues with the old ones.
        ("max_queued_messages 100", "max_queued_messages 200", True),
        ("listener 1883", "listener 1883\nlistener 1884", True),
        ("listener 1883\nmax_connections 1", "listener 1883\nmax_connections 2", True),
        ("# one", "# another", False),
    ],
)
def test_changes_that_need_a_restart(before, after, restart):
    assert config.needs_restart(config.parse(before), config.parse(after)) is restart
