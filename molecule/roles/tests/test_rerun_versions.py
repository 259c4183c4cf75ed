# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that need Mosquitto 2.1 are rejected on hosts with an older version before anything changes there."""

from __future__ import annotations

import base64
import hashlib
import typing as t

import pytest
from firehose_testing.brokers import VARIABLES, WEBSOCKETS, Broker, Brokers, Role, Run
from firehose_testing.clients import Account

MODERN = Account("modern", "only-for-tests-modern")


def hash_with_long_salt(password: str) -> str:
    """A hash as mosquitto_passwd of 2.1 writes it."""
    salt = bytes(64)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000)
    return f"$7$1000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


# options that are new in 2.1, and the start of the error message on older versions
REFUSALS = {
    "an option": "mosquitto_options.global_max_connections: ",
    "only websockets": "mosquitto_listeners: ",
    "a name to bind websockets to": "mosquitto_listeners[1]: ",
    "a hash with a long salt": f"mosquitto_users[{len(VARIABLES['mosquitto_users'])}] (modern): ",
}


def state(broker: Broker) -> tuple[str, str]:
    """The state that a run would change: the process and its files."""
    files = broker.host.check_output(
        "cat /etc/mosquitto/* /etc/systemd/system/mosquitto.service.d/* 2>/dev/null | sha256sum"
    )
    return broker.show("MainPID"), files


Story = tuple[Run, dict[str, tuple[str, str]]]


@pytest.fixture(scope="module")
def story(brokers: Brokers, role: Role) -> Story:
    """A run that uses all new options, and the state before it."""
    role.recover()
    before = brokers.each(state)
    modern = {"name": MODERN.name, "password_hash": hash_with_long_salt(MODERN.password or "")}
    run = role.run(
        mosquitto_options={"global_max_connections": 3},
        mosquitto_listeners=[
            {"port": 80, "protocol": "websockets"},
            {"port": 9003, "protocol": "websockets", "bind_address": "{{ inventory_hostname }}"},
        ],
        mosquitto_users=[*VARIABLES["mosquitto_users"], modern],
    )
    return run, before


@pytest.fixture
def old(brokers: Brokers) -> list[Broker]:
    return [broker for broker in brokers.values() if broker.version < (2, 1)]


@pytest.fixture
def new(brokers: Brokers) -> Broker:
    [broker] = [broker for broker in brokers.values() if broker.version >= (2, 1)]
    return broker


@pytest.mark.parametrize("what", REFUSALS)
def test_an_old_version_rejects_the_new_options(story: Story, old: list[Broker], what: str) -> None:
    run, _before = story
    assert run.failed_hosts == {broker.name for broker in old}
    assert len(old) == 2
    for broker in old:
        [refusal] = run.failures[broker.name]
        assert any(line.startswith(REFUSALS[what]) for line in refusal.splitlines()), refusal


def test_a_broker_of_an_old_version_is_not_changed(story: Story, old: list[Broker]) -> None:
    run, before = story
    for broker in old:
        assert run.changed[broker.name] == []
        assert state(broker) == before[broker.name]
        assert broker.lets_in("admin")


def test_a_new_version_serves_with_the_new_options(story: Story, new: Broker) -> None:
    run, _before = story
    assert new.name not in run.failed_hosts, run.failures
    assert not new.listens(1883)
    where: dict[str, t.Any] = {"port": 80, "way": WEBSOCKETS}
    assert new.lets_in(MODERN, **where)
    assert new.listens(9003, WEBSOCKETS)
    with new.session(**where), new.session(**where):
        assert new.lets_in("admin", **where)
        with new.session(**where), pytest.raises(ConnectionError, match=r"got a|handshake"):
            new.lets_in("admin", **where)
