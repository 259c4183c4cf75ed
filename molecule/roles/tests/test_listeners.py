# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners of the broker, and the options of each listener."""

from __future__ import annotations

import pytest
from firehose_testing.brokers import ACCOUNTS, TCP, WEBSOCKETS, Broker
from firehose_testing.clients import Way
from firehose_testing.hostile import frames, packets
from firehose_testing.sessions import delivered
from firehose_testing.waiting import wait_until

SOCKETS = ["/run/mosquitto/broker.sock", "/srv/mqtt/broker.sock"]
# Sends each piece of data and reads the answer. The last answer must be a CONNACK, with any return code.
CLIENT = """
import socket
with socket.create_connection(("127.0.0.1", {port}), 5) as connection:
    for data in {sent!r}:
        connection.sendall(data)
        answer = connection.recv(4096)
assert b"\\x20\\x02\\x00" in answer, answer
"""


def answers_inside(broker: Broker, port: int, websockets: bool = False) -> bool:
    """Whether the broker answers a client in its own container, at the loopback address."""
    hello = packets.connect(packets.V3)
    sent = [frames.upgrade("127.0.0.1"), frames.frame(hello)] if websockets else [hello]
    return broker.host.run("python3 -c %s", CLIENT.format(port=port, sent=sent)).succeeded


def test_a_port_on_all_addresses(broker: Broker) -> None:
    assert broker.listens(1883)
    assert answers_inside(broker, 1883)


def test_a_port_on_one_address(broker: Broker) -> None:
    assert broker.listens(1884)
    assert not answers_inside(broker, 1884)


def test_websockets_on_the_loopback_address(broker: Broker) -> None:
    assert answers_inside(broker, 9001, websockets=True)
    assert not broker.listens(9001, WEBSOCKETS)


def test_websockets_on_a_low_port(broker: Broker) -> None:
    assert broker.host.sysctl("net.ipv4.ip_unprivileged_port_start") == 1024
    with broker.session("both/#", port=80, way=WEBSOCKETS) as receiver, broker.session() as sender:
        assert delivered(sender, receiver, ["both/a", "in/a"]) == {"both/a"}


@pytest.mark.parametrize("path", SOCKETS)
def test_only_the_group_can_use_a_unix_socket(broker: Broker, path: str) -> None:
    login = ["-u", "plain", "-P", ACCOUNTS["plain"].password, "--unix", path, "--qos", "1"]
    message = [*login, "-t", "both/socket", "-m", path]

    def publish(*groups: str) -> bool:
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", *groups, "mosquitto_pub", *message]
        return broker.host.run(" ".join(["%s"] * len(command)), *command).succeeded

    with broker.session("both/#") as receiver:
        assert not publish("--clear-groups")
        receiver.fence()
        assert receiver.got(path) == set()
        assert publish("--groups=mosquitto")
        receiver.fence()
        assert receiver.got(path) == {"both/socket"}


@pytest.mark.parametrize(("port", "way", "since"), [(1885, TCP, (2, 0, 12)), (9002, WEBSOCKETS, (2, 1))], ids=str)
def test_a_listener_limits_the_number_of_clients(broker: Broker, port: int, way: Way, since: tuple[int, ...]) -> None:
    def has_room() -> bool:
        try:
            with broker.session(port=port, way=way):
                return True
        except ConnectionError:
            return False

    with broker.session(port=port, way=way):
        assert has_room()
        with broker.session(port=port, way=way):
            # Earlier versions count clients wrongly, or not at all.
            assert has_room() == (broker.version < since)
            assert broker.listens(1883)
        wait_until(has_room, "the place of the client that left was free")


def test_a_listener_adds_its_mount_point_to_topics(broker: Broker) -> None:
    with broker.session("#") as outside, broker.session("#", port=1886) as inside:
        assert delivered(inside, outside, ["a"]) == {"mounted/a"}
        outside.publish("b", "not below the prefix")
        outside.publish("mounted/b", "below the prefix")
        inside.wait_for(payload="below the prefix")
        assert inside.got("not below the prefix") == set()
        # Debian 12's broker does not remove the prefix.
        assert inside.got("below the prefix") == {"b" if broker.version >= (2, 0, 12) else "mounted/b"}


def test_a_listener_limits_the_qos(broker: Broker) -> None:
    with broker.session("#") as outside, broker.session(port=1886) as inside:
        inside.publish("a", "allowed", qos=1)
        with pytest.raises(ConnectionError, match="a disconnection"):
            inside.publish("a", "forbidden", qos=2)
        outside.publish("a", "elsewhere", qos=2)
        outside.fence()
        assert outside.got("allowed") == {"mounted/a"}
        assert outside.got("forbidden") == set()
        assert outside.got("elsewhere") == {"a"}
