# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that something else has."""

from __future__ import annotations

import socket

import pytest
from mosquitto_apply import config, ports


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken(taken):
    wanted = config.listeners(config.parse(f"listener {taken} 127.0.0.1\nlistener 0 /run/x.sock"))
    assert ports.problems(wanted, []) == [f"port {taken} of 127.0.0.1 (mqtt): Address already in use"]


def test_the_brokers_own_port(taken):
    wanted = config.listeners(config.parse(f"listener {taken}\nprotocol websockets"))
    assert ports.problems(wanted, config.listeners(config.parse(f"listener {taken} 127.0.0.1"))) == []


def test_an_address_that_the_host_does_not_have():
    [problem] = ports.problems(config.listeners(config.parse("listener 18830 192.0.2.77")), [])
    assert problem == "port 18830 of 192.0.2.77 (mqtt): Cannot assign requested address"
