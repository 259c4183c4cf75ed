# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that another program uses."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import free_ports
from mosquitto_apply import config, ports

FREE = r"\. Free the port, or use another"
OWN_ADDRESS = "Use an address of this host, as `ip address` lists them"


def holder() -> str:
    """How a message names this process, if ss is installed."""
    return rf": \S+, PID {os.getpid()}" if shutil.which("ss") else ""


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_of_another_program(taken):
    wanted = config.listeners(config.parse(f"listener {taken} 127.0.0.1\nlistener 0 /run/x.sock"))
    [problem] = ports.problems(wanted, [])
    assert re.fullmatch(rf"port {taken} of 127.0.0.1 \(mqtt\): Address already in use{holder()}{FREE}", problem)


def test_the_port_of_the_broker_itself_is_accepted(taken):
    wanted = config.listeners(config.parse(f"listener {taken}\nprotocol websockets"))
    assert ports.problems(wanted, config.listeners(config.parse(f"listener {taken} 127.0.0.1"))) == []


def test_an_address_that_the_host_does_not_have():
    [problem] = ports.problems(config.listeners(config.parse("listener 18830 192.0.2.77")), [])
    assert problem == f"port 18830 of 192.0.2.77 (mqtt): Cannot assign requested address. {OWN_ADDRESS}"


def test_an_address_that_the_host_does_not_have_at_the_brokers_port():
    opened = config.listeners(config.parse("listener 18830"))
    [problem] = ports.problems(config.listeners(config.parse("listener 18830 192.0.2.77")), opened)
    assert problem == f"port 18830 of 192.0.2.77 (mqtt): Cannot assign requested address. {OWN_ADDRESS}"


@pytest.fixture
def without_ipv6(monkeypatch):
    """A kernel without IPv6."""

    class Socket(socket.socket):
        def __init__(self, family=socket.AF_INET, *arguments, **options):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *arguments, **options)

    monkeypatch.setattr(free_ports.socket, "socket", Socket)


@pytest.mark.usefixtures("without_ipv6")
def test_a_listener_for_all_addresses_without_ipv6(taken):
    assert ports.problems(config.listeners(config.parse("listener 18830")), []) == []
    [problem] = ports.problems(config.listeners(config.parse(f"listener {taken}")), [])
    assert re.fullmatch(rf"port {taken} \(mqtt\): Address already in use{holder()}{FREE}", problem)


@pytest.mark.usefixtures("without_ipv6")
def test_an_ipv6_address_without_ipv6():
    [problem] = ports.problems(config.listeners(config.parse("listener 18830 ::1")), [])
    assert problem == "port 18830 of ::1 (mqtt): Address family not supported by protocol"
