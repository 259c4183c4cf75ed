# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accounts can log in, and which topics they can read and write. Only messages that another client receives count."""

from __future__ import annotations

import pytest
from firehose_testing.brokers import ACCOUNTS, Broker
from firehose_testing.clients import ANONYMOUS, Account
from firehose_testing.sessions import delivered

# for two accounts: topics of all kinds, and whether each can be read and written
RIGHTS = {
    "plain": {
        "both/a": "rw",
        "both/secret/a": "",
        "in/a": "r",
        "out/a": "w",
        "own/plain/a": "rw",
        "own/plain/secret": "",
        "own/hashed/a": "",
        "mail/plain/a": "r",
        "mail/hashed/a": "",
        "hashed/a/up": "",
        "elsewhere": "",
    },
    "hashed": {
        "hashed/a/up": "w",
        "hashed/a/down": "r",
        "hashed/a/b/up": "",
        "own/hashed/a": "rw",
        "own/plain/a": "",
        "both/a": "",
    },
}


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_needs_its_own_password(broker: Broker, account: str) -> None:
    assert broker.lets_in(account)
    assert not broker.lets_in(Account(account))
    assert not broker.lets_in(Account(account, ""))
    assert not broker.lets_in(Account(account, "wrong"))
    assert not broker.lets_in(Account(account, ACCOUNTS["admin"].password))
    assert not broker.lets_in(Account("nobody", ACCOUNTS[account].password))


@pytest.mark.parametrize("port", [1883, 1884, 1885, 1886])
def test_anonymous_clients_are_rejected(broker: Broker, port: int) -> None:
    assert not broker.lets_in(ANONYMOUS, port=port)
    assert broker.lets_in("admin", port=port)


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_can_write_only_what_its_rules_allow(broker: Broker, account: str) -> None:
    topics = RIGHTS[account]
    with broker.session("#") as receiver, broker.session(account=account) as sender:
        assert delivered(sender, receiver, topics) == {topic for topic, rights in topics.items() if "w" in rights}


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_can_read_only_what_its_rules_allow(broker: Broker, account: str) -> None:
    topics = RIGHTS[account]
    with broker.session("#", account=account) as receiver, broker.session() as sender:
        assert delivered(sender, receiver, topics) == {topic for topic, rights in topics.items() if "r" in rights}


def test_new_hashes_have_the_configured_iterations(broker: Broker) -> None:
    lines = dict(line.split(":") for line in broker.host.file("/etc/mosquitto/passwd").content_string.splitlines())
    assert lines["plain"].startswith("$7$500$")
    assert lines["hashed"].startswith("$7$1000$")
