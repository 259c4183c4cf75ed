# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""germqtt on a host of its own publishes Gerrit's events at a broker elsewhere."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
import testinfra
from firehose_testing.brokers import PROJECT, Broker, Brokers, Role, host_in
from firehose_testing.gerrit import Gerrit, topic_of
from firehose_testing.sessions import Session, wait_until
from testinfra.host import Host

FIXTURE = PROJECT / "tests/fixtures/gerrit-events.jsonl"
KNOWN_HOSTS = "/etc/germqtt/.ssh/known_hosts"
SECRETS = ["/etc/germqtt/germqtt.conf", "/etc/germqtt/.ssh/id_germqtt"]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH+wAziyEEHEjv3EeDzpXIZk+v06Fz8uPzWTesYhL09l"


def ours(topic: str) -> str:
    """The topic that the variables ask for, from the one that is the default."""
    assert topic.startswith("gerrit/")
    return "review" + topic.removeprefix("gerrit")


@pytest.fixture(scope="module")
def germqtt() -> Host:
    return testinfra.get_host(f"docker://{host_in('germqtt')}")


@pytest.fixture(scope="module")
def upstream(brokers: Brokers, role: Role) -> Broker:
    role.ensure()
    return brokers[host_in("upstream")]


@pytest.fixture
def subscriber(upstream: Broker) -> t.Iterator[Session]:
    with upstream.session("#") as session:
        yield session


def wait_until_heard(gerrit: Gerrit, subscriber: Session) -> None:
    """Wait until what is streamed from here on arrives."""
    before = len(subscriber.messages)
    marks = ours(topic_of({"project": "tests/marker", "type": ""}))
    assert gerrit.mark_until(lambda: any(m.topic.startswith(marks) for m in subscriber.messages[before:]))


def test_events_arrive_below_the_topic_of_the_variables(gerrit: Gerrit, subscriber: Session) -> None:
    line = FIXTURE.read_text(encoding="utf-8").splitlines()[0]
    event = json.loads(line)
    wait_until_heard(gerrit, subscriber)
    gerrit.feed([line])
    wait_until_heard(gerrit, subscriber)
    got = [json.loads(message.payload) for message in subscriber.messages if message.topic == ours(topic_of(event))]
    assert got == [event]
    assert not [message.topic for message in subscriber.messages if message.topic.startswith("gerrit/")]


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_is_for_germqtt_alone(germqtt: Host, path: str) -> None:
    assert germqtt.run("runuser --user germqtt -- cat %s", path).succeeded
    assert germqtt.run("runuser --user nobody -- cat %s", path).failed


def test_the_unit_comes_back_always_and_after_the_broker(germqtt: Host) -> None:
    assert germqtt.check_output("systemctl show --property Restart --value germqtt") == "always"
    assert germqtt.check_output("systemctl show --property StartLimitIntervalUSec --value germqtt") == "0"
    assert "mosquitto.service" in germqtt.check_output("systemctl show --property After --value germqtt").split()


def test_a_gerrit_with_another_key_is_refused(gerrit: Gerrit, germqtt: Host, subscriber: Session, role: Role) -> None:
    wait_until_heard(gerrit, subscriber)
    run = role.run("germqtt", germqtt_gerrit_host_keys=[OTHER_KEY])
    try:
        assert run.worked, run.failures
        invocation = germqtt.check_output("systemctl show --property InvocationID --value germqtt")
        journal = f"journalctl --no-pager _SYSTEMD_INVOCATION_ID={invocation}"
        wait_until(
            lambda: re.search("Host key for server .* does not match", germqtt.check_output(journal)) is not None,
            "germqtt complained of the key",
        )
        unheard = ours(gerrit.mark())
    finally:
        run = role.run("germqtt")
    assert run.worked, run.failures
    wait_until_heard(gerrit, subscriber)
    assert unheard not in {message.topic for message in subscriber.messages}


def test_a_gerrit_without_a_known_key_is_not_asked(
    gerrit: Gerrit, germqtt: Host, subscriber: Session, role: Role
) -> None:
    wait_until_heard(gerrit, subscriber)
    germqtt.check_output(f"sed --in-place /ssh-ed25519/d {KNOWN_HOSTS}")
    try:
        assert germqtt.run("systemctl restart germqtt").failed
        assert "ExecStartPre" in germqtt.run("systemctl status --no-pager --full germqtt").stdout
        unheard = ours(gerrit.mark())
    finally:
        run = role.run("germqtt")
    assert run.worked, run.failures
    assert "Write the host keys that germqtt knows Gerrit by" in run.changed[host_in("germqtt")]
    wait_until_heard(gerrit, subscriber)
    assert unheard not in {message.topic for message in subscriber.messages}
