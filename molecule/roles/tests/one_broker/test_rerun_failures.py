# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A play fails as long as the broker does not run with the requested configuration, and reports the cause."""

from __future__ import annotations

import re
import typing as t

import pytest
from firehose_testing.brokers import VARIABLES, WEBSOCKETS, Broker, Brokers, Role
from firehose_testing.waiting import wait_until

PORT = 8888


def is_taken(broker: Broker) -> bool:
    return f":{PORT} " in broker.host.check_output("ss --no-header --listening --tcp --numeric")


def occupy(broker: Broker) -> None:
    """Make another program listen on the port."""
    broker.host.check_output(f"systemd-run --quiet --unit occupant python3 -m http.server {PORT}")
    wait_until(lambda: is_taken(broker), "the port was taken")


def free(broker: Broker) -> None:
    broker.host.check_output("systemctl stop occupant")
    wait_until(lambda: not is_taken(broker), "the port was free")


@pytest.fixture
def occupied(brokers: Brokers, role: Role) -> t.Iterator[None]:
    role.ensure()
    brokers.each(occupy)
    yield
    brokers.each(lambda broker: broker.host.run("systemctl stop occupant"))


@pytest.mark.usefixtures("occupied")
def test_a_run_fails_while_another_program_uses_a_port(brokers: Brokers, role: Role) -> None:
    wanted = {"mosquitto_listeners": [*VARIABLES["mosquitto_listeners"], {"port": PORT, "protocol": "websockets"}]}
    run = role.run(**wanted, mosquitto_wait_timeout=2)
    assert run.failed_hosts == set(brokers)
    for failures in run.failures.values():
        assert re.search(rf"port {PORT} \(websockets\): Address already in use: \S+, PID \d+", failures[-1])
        assert "mosquitto_listeners" in failures[-1]
    brokers.each(free)
    run = role.run(**wanted)
    assert run.worked, run.failures
    assert brokers.each(lambda broker: broker.lets_in("admin", port=PORT, way=WEBSOCKETS)) == brokers.all(True)


def test_a_run_fails_for_an_unknown_option(brokers: Brokers, role: Role) -> None:
    run = role.run(mosquitto_options={"no_such_option": 1})
    assert run.failed_hosts == set(brokers)
    for failures in run.failures.values():
        assert re.search("Error: Unknown configuration variable .no_such_option", failures[-1])
    role.ensure()
    assert brokers.each(lambda broker: broker.lets_in("admin")) == brokers.all(True)
