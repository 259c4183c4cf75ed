# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the whole broker that affect clients."""

from __future__ import annotations

import pytest
from firehose_testing.brokers import VARIABLES, Broker

LARGEST = VARIABLES["mosquitto_max_packet_size"]
LONGEST = VARIABLES["mosquitto_max_keepalive"]


def test_oversized_packets_are_rejected(broker: Broker) -> None:
    fits, too_large = "x" * (LARGEST - 100), "x" * LARGEST
    with broker.session("both/#") as receiver:
        with broker.session() as sender:
            sender.publish("both/large", fits)
            with pytest.raises(ConnectionError, match="a disconnection"):
                sender.publish("both/large", too_large)
        receiver.fence()
        assert receiver.got(fits) == {"both/large"}
        assert receiver.got(too_large) == set()


@pytest.mark.parametrize("keepalive", [LONGEST, LONGEST + 1])
def test_a_keepalive_above_the_maximum_is_rejected(broker: Broker, keepalive: int) -> None:
    # Debian 12's broker applies the limit only to clients of MQTT 5, since it can announce it only to them.
    if keepalive <= LONGEST or broker.version < (2, 0, 12):
        assert broker.lets_in("plain", keepalive=keepalive)
    else:
        with pytest.raises(ConnectionError, match="got a disconnection"):
            broker.lets_in("plain", keepalive=keepalive)


def test_overlapping_subscriptions_deliver_one_copy(broker: Broker) -> None:
    with broker.session("both/#", "both/+", "both/a") as receiver:
        receiver.publish("both/a", "once")
        receiver.fence()
        assert [message.payload for message in receiver.messages if message.topic == "both/a"] == ["once"]


def test_an_option_without_its_own_variable_takes_effect(broker: Broker) -> None:
    with broker.session("both/#") as receiver:
        receiver.publish("both/a", "raised to the qos of the subscription", qos=0)
        receiver.fence()
        assert [message.qos for message in receiver.messages if message.topic == "both/a"] == [2]


def test_the_limit_of_open_files(broker: Broker) -> None:
    limits = broker.host.file(f"/proc/{broker.show('MainPID')}/limits").content_string
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(VARIABLES["mosquitto_limit_nofile"])] * 2


def test_the_log_has_only_the_configured_types(broker: Broker) -> None:
    with broker.session():
        journal = broker.host.check_output("journalctl --no-pager --unit mosquitto")
    assert "mosquitto[" in journal
    assert "New client connected" not in journal
    assert "Opening ipv4 listen socket" not in journal
