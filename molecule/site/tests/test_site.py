# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts after a run of the site's playbook: the collection is set up, and the site's own parts are unchanged."""

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
# each publisher of the firehoses, and how it is defined
PUBLISHERS = {"germqtt": "list", "zuul": "list", "blog": "task in a play for the firehoses", "wiki": "delegated task"}


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_each_publisher_reaches_anonymous_clients_only_on_its_topics(brokers: list[Broker], publisher: str) -> None:
    topics = {"germqtt": "gerrit/a", "zuul": "zuul/a", "blog": "blog/a", "wiki": "wiki/a"}
    for broker in brokers:
        assert broker.reached(Account(publisher, f"only-for-tests-{publisher}"), *topics.values()) == {
            topics[publisher]
        }
        assert broker.reached(Account(publisher, "wrong"), *topics.values()) == set()
    assert len(brokers) == 2


def test_private_topics_do_not_reach_anonymous_clients(brokers: list[Broker]) -> None:
    for broker in brokers:
        zuul = Account("zuul", "only-for-tests-zuul")
        assert broker.reached(zuul, "internal/a", "zuul/a") == {"zuul/a"}


def test_anonymous_clients_can_subscribe_with_tls(brokers: list[Broker]) -> None:
    for broker in brokers:
        for way in TLS_WAYS:
            with PahoSubscriber(broker.address, way, ["none"]):
                pass


def test_anonymous_clients_cannot_publish(brokers: list[Broker]) -> None:
    for broker in brokers:
        assert broker.reached(ANONYMOUS, "wiki/a", "zuul/a", "a") == set()


def test_events_of_a_remote_germqtt_arrive(brokers: list[Broker], gerrit: Gerrit) -> None:
    [fed] = [broker for broker in brokers if broker.name == hosts_in("firehose")[0]]
    with PahoSubscriber(fed.address, TCP, ["gerrit/#"]) as public:
        gerrit.wait_until_heard([public])


def test_a_service_has_an_account_at_the_broker(sensors: Broker) -> None:
    assert sensors.reached(SENSOR, "sensors/a", "a") == {"sensors/a"}
    assert sensors.reached(MONITORING, "sensors/a", "a") == {"sensors/a", "a"}


def test_the_sites_broker_rejects_other_accounts(sensors: Broker) -> None:
    for stranger in (ANONYMOUS, Account("sensor", "wrong"), Account("zuul", "only-for-tests-zuul")):
        assert not sensors.lets_in(stranger)


def test_accounts_of_the_sites_broker_are_not_at_the_firehoses(brokers: list[Broker]) -> None:
    for broker in brokers:
        assert not broker.lets_in(MONITORING)
        accounts = broker.host.check_output("cut -d: -f1 /etc/mosquitto/passwd").split()
        assert sorted(accounts) == sorted([*PUBLISHERS, "firehose-relay", "monitor"])


def test_the_collection_changes_no_variables_of_the_site(host: Host) -> None:
    """After the collection's tasks, a play sees the values of the inventory, and none that these tasks have set."""
    seen = json.loads(host.file("/etc/site-variables.json").content_string)
    assert {"users", "listeners", "topics", "items", "mosquitto_users"} <= seen.keys()
    name = host.backend.get_hostname()
    assert seen == evaluated(name, *seen)[name]


def test_the_collection_uses_no_variables_of_the_site(host: Host) -> None:
    grep = "grep --recursive --no-messages --files-with-matches --ignore-case %s /etc/mosquitto* /etc/firehose-haproxy /etc/germqtt /etc/systemd"
    assert host.run(grep, ".").stdout
    assert host.run(grep, r"a site's\|/a/site").stdout == ""
