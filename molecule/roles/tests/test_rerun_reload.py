# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed accounts and rules take effect while other clients stay connected.

One run changes a password, removes an account, and changes the rules of a third. Meanwhile a client with the third
account, the witness, receives a steady stream of messages. Clients with the other two accounts are connected as well.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import typing as t

import pytest
from firehose_testing.brokers import ACCOUNTS, VARIABLES, WITHOUT_LIMITS, Broker, Brokers, Role, Run
from firehose_testing.clients import Account
from firehose_testing.sessions import Session, count, delivered

NEW = Account("rotated", "only for tests: the next one")
FOREIGN = Account("foreign", VARIABLES["password_of_hash"])


def add_foreign_account(broker: Broker) -> None:
    """Add an account that the role does not manage, with the hash of an account that it manages."""
    [stored] = [user["password_hash"] for user in VARIABLES["mosquitto_users"] if user["name"] == "hashed"]
    broker.host.check_output("printf '%%s\\n' %s >>/etc/mosquitto/passwd", f"{FOREIGN.name}:{stored}")


def changed_variables() -> dict[str, t.Any]:
    """The variables of the inventory with the changes."""
    users, acl = copy.deepcopy(VARIABLES["mosquitto_users"]), copy.deepcopy(VARIABLES["mosquitto_acl"])
    user = {user["name"]: user for user in users}
    user["rotated"]["password"] = NEW.password
    user["hashed"]["state"] = "absent"
    [rules] = [user["rules"] for user in acl["users"] if user["name"] == "plain"]
    rules.remove({"topic": "out/#", "access": "write"})
    rules.append({"topic": "later/#", "access": "readwrite"})
    return {"mosquitto_listeners": WITHOUT_LIMITS, "mosquitto_users": users, "mosquitto_acl": acl}


@dataclasses.dataclass
class Story:
    """The run, the clients that were connected meanwhile, by broker and account, and the state before."""

    run: Run
    clients: dict[str, dict[str, Session]]
    published: dict[str, list[str]]
    process: dict[str, str]
    loaded: dict[str, str]


@pytest.fixture(scope="module")
def story(brokers: Brokers, role: Role) -> t.Iterator[Story]:
    role.ensure(mosquitto_listeners=WITHOUT_LIMITS)
    brokers.each(add_foreign_account)
    assert brokers.each(lambda broker: broker.lets_in("hashed")) == brokers.all(True)
    process = brokers.each(lambda broker: broker.show("MainPID"))
    loaded = brokers.each(Broker.loaded)
    with contextlib.ExitStack() as stack:
        clients = {
            name: {
                account: stack.enter_context(broker.session("#", account=account))
                for account in ("admin", "plain", "rotated", "hashed")
            }
            for name, broker in brokers.items()
        }
        for client in clients.values():
            assert delivered(client["admin"], client["plain"], ["in/before", "later/before"]) == {"in/before"}
        with contextlib.ExitStack() as publishing:
            counts = {
                name: publishing.enter_context(count(client["admin"], "in/count")) for name, client in clients.items()
            }
            run = role.run(**changed_variables())
        yield Story(run, clients, {name: sent() for name, sent in counts.items()}, process, loaded)


def test_the_broker_is_reloaded_and_not_restarted(story: Story, brokers: Brokers) -> None:
    assert story.run.worked, story.run.failures
    assert {name: set(changed) for name, changed in story.run.changed.items()} == brokers.all(
        {"Write the accounts", "Write the ACL rules", "Start, reload or restart the brokers"}
    )
    assert brokers.each(lambda broker: broker.show("MainPID")) == story.process
    for name, loaded in brokers.each(Broker.loaded).items():
        assert loaded != story.loaded[name]


def test_a_connected_client_loses_no_message(story: Story) -> None:
    for name, client in story.clients.items():
        client["plain"].fence()
        assert len(story.published[name]) > 10
        got = [message.payload for message in client["plain"].messages if message.topic == "in/count"]
        assert got == story.published[name]


def test_the_new_password_has_replaced_the_old(story: Story, brokers: Brokers) -> None:
    assert story.run.worked, story.run.failures
    assert brokers.each(lambda broker: broker.lets_in("rotated")) == brokers.all(False)
    assert brokers.each(lambda broker: broker.lets_in(NEW)) == brokers.all(True)


def test_an_absent_account_cannot_log_in(story: Story, brokers: Brokers) -> None:
    assert story.run.worked, story.run.failures
    assert brokers.each(lambda broker: broker.lets_in("hashed")) == brokers.all(False)
    assert brokers.each(lambda broker: broker.lets_in("admin")) == brokers.all(True)


@pytest.mark.parametrize("account", ["rotated", "hashed"])
def test_clients_with_an_outdated_password_are_disconnected(story: Story, account: str) -> None:
    for client in story.clients.values():
        with pytest.raises(ConnectionError, match="got a disconnection"):
            client[account].fence()
        client["admin"].fence()


def test_the_new_rules_apply_to_a_connected_client(story: Story) -> None:
    for client in story.clients.values():
        plain, admin = client["plain"], client["admin"]
        assert delivered(admin, plain, ["in/after", "later/after", "out/after"]) == {"in/after", "later/after"}
        assert delivered(plain, admin, ["both/after", "later/after", "out/after"]) == {"both/after", "later/after"}


def test_no_password_is_in_the_output(story: Story) -> None:
    output = story.run.output + story.run.messages
    assert "rotated (another password)" in output
    accounts = {**ACCOUNTS, "rotated, new": NEW}
    shown = {name for name, account in accounts.items() if json.dumps(account.password)[1:-1] in output}
    assert shown == set()
    assert "$7$" not in output


def test_an_unmanaged_account_stays_until_it_is_pruned(story: Story, brokers: Brokers, role: Role) -> None:
    assert story.run.worked
    assert brokers.each(lambda broker: broker.lets_in(FOREIGN)) == brokers.all(True)
    run = role.run(mosquitto_listeners=WITHOUT_LIMITS, mosquitto_users_prune=True)
    assert run.worked, run.failures
    assert brokers.each(lambda broker: broker.lets_in(FOREIGN)) == brokers.all(False)
    assert brokers.each(lambda broker: broker.lets_in("hashed")) == brokers.all(True)
    assert brokers.each(lambda broker: broker.show("MainPID")) == story.process
