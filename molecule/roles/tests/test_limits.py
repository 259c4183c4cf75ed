# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the whole broker that clients notice."""

from __future__ import annotations

import pytest
from firehose_testing.brokers import VARIABLES, Broker

LARGEST = VARIABLES["mosquitto_max_packet_size"]
LONGEST = VARIABLES["mosquitto_max_keepalive"]


def test_large_packets_are_not_carried(broker: Broker) -> None:
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
def test_a_client_has_to_give_signs_of_life(broker: Broker, keepalive: int) -> None:
    # Debian 12's broker applies the limit to clients of MQTT 5 only, to which it can name it.
    if keepalive <= LONGEST or broker.version < (2, 0, 12):
        assert broker.lets_in("plain", keepalive=keepalive)
    else:
        with pytest.raises(ConnectionError, match="got a disconnection"):
            broker.lets_in("plain", keepalive=keepalive)


def test_overlapping_subscriptions_bring_one_copy(broker: Broker) -> None:
    with broker.session("both/#", "both/+", "both/a") as receiver:
        receiver.publish("both/a", "once")
        receiver.fence()
        assert [message.payload for message in receiver.messages if message.topic == "both/a"] == ["once"]


def test_an_option_without_a_variable_of_its_own(broker: Broker) -> None:
    with broker.session("both/#") as receiver:
        receiver.publish("both/a", "raised to the qos of the subscription", qos=0)
        receiver.fence()
        assert [message.qos for message in receiver.messages if message.topic == "both/a"] == [2]


def test_the_number_of_open_files(broker: Broker) -> None:
    limits = broker.host.file(f"/proc/{broker.show('MainPID')}/limits").content_string
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(VARIABLES["mosquitto_limit_nofile"])] * 2


def test_the_log_is_as_short_as_asked_for(broker: Broker) -> None:
    with broker.session():
        journal = broker.host.check_output("journalctl --no-pager --unit mosquitto")
    assert "mosquitto[" in journal
    assert "New client connected" not in journal
    assert "Opening ipv4 listen socket" not in journal
