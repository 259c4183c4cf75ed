# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site's playbook has made of the hosts: the collection did its part, and the site's own was left alone."""

from __future__ import annotations

import json

import pytest
from firehose_testing.clients import ANONYMOUS, TLS_WAYS, Account, PahoSubscriber
from firehose_testing.fixtures import evaluated
from firehose_testing.gerrit import Gerrit
from firehose_testing.site import TCP, Broker, hosts_in
from testinfra.host import Host

testinfra_hosts = ["ansible://firehose", "ansible://broker", "ansible://germqtt"]

SENSOR = Account("sensor", "only-for-tests-sensor")
MONITORING = Account("monitoring", "only-for-tests-monitoring")
# each publisher of the firehoses, and how it came there
PUBLISHERS = {"germqtt": "list", "zuul": "list", "blog": "task in a play for the firehoses", "wiki": "delegated task"}


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_every_publisher_reaches_the_public_with_its_own_topics(brokers: list[Broker], publisher: str) -> None:
    topics = {"germqtt": "gerrit/a", "zuul": "zuul/a", "blog": "blog/a", "wiki": "wiki/a"}
    for broker in brokers:
        assert broker.reached(Account(publisher, f"only-for-tests-{publisher}"), *topics.values()) == {
            topics[publisher]
        }
        assert broker.reached(Account(publisher, "wrong"), *topics.values()) == set()
    assert len(brokers) == 2


def test_what_anonymous_clients_may_not_read_does_not_reach_them(brokers: list[Broker]) -> None:
    for broker in brokers:
        zuul = Account("zuul", "only-for-tests-zuul")
        assert broker.reached(zuul, "internal/a", "zuul/a") == {"zuul/a"}


def test_the_public_reads_with_tls_too(brokers: list[Broker]) -> None:
    for broker in brokers:
        for way in TLS_WAYS:
            with PahoSubscriber(broker.address, way, ["none"]):
                pass


def test_the_public_publishes_nothing(brokers: list[Broker]) -> None:
    for broker in brokers:
        assert broker.reached(ANONYMOUS, "wiki/a", "zuul/a", "a") == set()


def test_gerrits_events_come_from_another_host(brokers: list[Broker], gerrit: Gerrit) -> None:
    [fed] = [broker for broker in brokers if broker.name == hosts_in("firehose")[0]]
    with PahoSubscriber(fed.address, TCP, ["gerrit/#"]) as public:
        gerrit.wait_until_heard([public])


def test_a_service_has_an_account_at_the_broker(sensors: Broker) -> None:
    assert sensors.reached(SENSOR, "sensors/a", "a") == {"sensors/a"}
    assert sensors.reached(MONITORING, "sensors/a", "a") == {"sensors/a", "a"}


def test_the_broker_keeps_to_its_own_policy(sensors: Broker) -> None:
    for stranger in (ANONYMOUS, Account("sensor", "wrong"), Account("zuul", "only-for-tests-zuul")):
        assert not sensors.lets_in(stranger)


def test_the_sites_accounts_are_not_the_firehoses(brokers: list[Broker]) -> None:
    for broker in brokers:
        assert not broker.lets_in(MONITORING)
        accounts = broker.host.check_output("cut -d: -f1 /etc/mosquitto/passwd").split()
        assert sorted(accounts) == sorted([*PUBLISHERS, "firehose-relay", "monitor"])


def test_the_sites_variables_are_its_own(host: Host) -> None:
    """After the collection's tasks a play sees what the inventory says, and nothing that these had set."""
    seen = json.loads(host.file("/etc/site-variables.json").content_string)
    assert {"users", "listeners", "topics", "items", "mosquitto_users"} <= seen.keys()
    name = host.backend.get_hostname()
    assert seen == evaluated(name, *seen)[name]


def test_the_collection_took_none_of_them(host: Host) -> None:
    grep = "grep --recursive --no-messages --files-with-matches --ignore-case %s /etc/mosquitto* /etc/firehose-haproxy /etc/germqtt /etc/systemd"
    assert host.run(grep, ".").stdout
    assert host.run(grep, r"a site's\|/a/site").stdout == ""
