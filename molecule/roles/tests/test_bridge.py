# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge carries a topic from one broker to another."""

from __future__ import annotations

import json
import uuid

import pytest
from firehose_testing.brokers import ACCOUNTS, Broker, Brokers, Role, host_in

PASSWORD = str(ACCOUNTS["bridge"].password)
CONFIGURATION = "/etc/mosquitto/mosquitto.conf"


@pytest.fixture
def upstream(brokers: Brokers, role: Role) -> Broker:
    role.ensure()
    return brokers[host_in("upstream")]


@pytest.fixture
def downstream(brokers: Brokers, role: Role) -> Broker:
    role.ensure()
    return brokers[host_in("downstream")]


def test_a_bridge_carries_only_its_topics(upstream: Broker, downstream: Broker) -> None:
    payload = str(uuid.uuid4())
    with downstream.session("#") as receiver, upstream.session() as sender:
        # the bridge's account is allowed to read this topic too
        sender.publish("own/bridge/a", payload, retain=True)
        # retained, so that a bridge that is still connecting gets it too
        sender.publish("shared/a", payload, retain=True)
        receiver.wait_for(payload=payload)
        sender.publish("shared/b", "later")
        receiver.wait_for(payload="later")
        assert receiver.got(payload) == {"upstream/shared/a"}
        assert receiver.got("later") == {"upstream/shared/b"}


def test_only_the_broker_can_read_the_password_of_a_bridge(downstream: Broker) -> None:
    read = downstream.host.run("runuser --user mosquitto -- cat %s", CONFIGURATION)
    assert f"remote_password {PASSWORD}" in read.stdout
    assert downstream.host.run("runuser --user nobody -- cat %s", CONFIGURATION).failed


def test_the_password_of_a_bridge_is_in_no_process_list_or_log(downstream: Broker) -> None:
    public = downstream.host.check_output("ps axww; systemctl show mosquitto; journalctl --no-pager")
    assert "/usr/sbin/mosquitto" in public
    assert PASSWORD not in public
    assert json.dumps(PASSWORD) not in public
