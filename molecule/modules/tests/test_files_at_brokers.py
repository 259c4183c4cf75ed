# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the modules write, read by the broker of each release: which logins it accepts, and what its ACL allows.

The brokers run beside those of the roles, so that any rules can be tried.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import typing as t
import uuid

import pytest
import testinfra
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_decisions, acl_file, password_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto.acl_file import Rights, Rule
from firehose_testing.clients import ANONYMOUS, Account
from firehose_testing.spare import HERALD, READER, WRITER, Client, SpareBroker
from hypothesis import given, settings
from hypothesis import strategies as st
from testinfra.utils.ansible_runner import AnsibleRunner

T = t.TypeVar("T")
repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=40)

# The alphabet: a level is a name, a username, a client id, or empty.
TOPICS = ["a", "b", "a/", "a/b", "b/a", "a/u", "u/a", "a/v", "a/c-u", "a/c", "c/a", "a/a/a", "a/b/c", "/a", "$x/a"]
LEVELS = st.sampled_from(["a", "b", "", "+"])
PLACES = st.sampled_from(["a", "+", "%u", "%c"])


def filters(levels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    end: st.SearchStrategy[list[str]] = st.sampled_from([[], ["#"]])
    built = st.builds(lambda some, rest: "/".join([*some, *rest]), st.lists(levels, min_size=1, max_size=3), end)
    return built.filter(bool) | st.sampled_from(["#", "$x/#"])


def rules(topic_filters: st.SearchStrategy[str]) -> st.SearchStrategy[list[Rule]]:
    return st.lists(st.builds(Rule, topic_filters, st.sampled_from(acl_file.ACCESS)), max_size=4)


RIGHTS = st.builds(
    lambda anonymous, user, patterns: Rights(anonymous, {"u": user}, patterns),
    rules(filters(LEVELS)),
    rules(filters(LEVELS)),
    rules(filters(PLACES)),
)
NAMES = st.text("aZ0 é.#%$/+@", min_size=1, max_size=8).filter(lambda name: password_file.name_problem(name) is None)
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def brokers() -> t.Iterator[list[SpareBroker]]:
    """One broker on each release."""
    names = AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"]).get_hosts("broker")
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(SpareBroker(testinfra.get_host(f"docker://{name}"))) for name in names]


def on_each(brokers: t.Sequence[SpareBroker], function: t.Callable[[SpareBroker], T]) -> list[T]:
    with concurrent.futures.ThreadPoolExecutor(len(brokers)) as pool:
        return list(pool.map(function, brokers))


USER = Account("u", "only-for-tests-u")
WITHOUT_RULES = Account("v", "only-for-tests-v")
CLIENTS = {"c": ANONYMOUS, "c-u": USER, "c-v": WITHOUT_RULES}  # by their client ids


class Judge:
    """The decisions of a broker, tried by clients that stay connected while the rules change."""

    def __init__(self, broker: SpareBroker, stack: contextlib.ExitStack) -> None:
        users = [
            {"name": account.name, "password": account.password}
            for account in (HERALD, READER, WRITER, USER, WITHOUT_RULES)
        ]
        lines, _changes = password_file.merge([], users)
        broker.write("passwd", password_file.render(lines))
        broker.read_again()
        self.broker = broker
        self._herald, self._reader, self._writer = (
            stack.enter_context(Client(broker.address, account)) for account in (HERALD, READER, WRITER)
        )
        self._clients = {
            name: stack.enter_context(Client(broker.address, account, name)) for name, account in CLIENTS.items()
        }

    def decisions(self, rules: str) -> set[tuple[str, str, str]]:
        """The accesses that the broker allows, by client and topic."""
        self.broker.take(rules, self._herald, self._writer)
        payload = str(uuid.uuid4())
        self._writer.publish(dict.fromkeys(TOPICS, payload))
        allowed = {(name, "read", topic) for name, client in self._clients.items() for topic in client.got(payload)}
        for name, client in self._clients.items():
            payload = str(uuid.uuid4())
            client.publish(dict.fromkeys(TOPICS, payload))
            allowed |= {(name, "write", topic) for topic in self._reader.got(payload)}
        return allowed


def test_acl_decisions_match_each_broker(brokers: list[SpareBroker]) -> None:
    with contextlib.ExitStack() as stack:
        judges = [Judge(broker, stack) for broker in brokers]

        @repeatable
        @given(rights=RIGHTS)
        def check(rights: Rights) -> None:
            wanted = acl_file.Wanted(rights.anonymous, rights.users, rights.patterns)
            content = acl_file.render(acl_file.merge([], wanted))
            expected = {
                (client_id, access, topic)
                for (client_id, account), access, topic in itertools.product(CLIENTS.items(), ("read", "write"), TOPICS)
                if acl_decisions.decide(rights, topic, access, account.name, client_id)
            }
            with concurrent.futures.ThreadPoolExecutor(len(judges)) as pool:
                for judge, allowed in zip(
                    judges, pool.map(lambda judge: judge.decisions(content), judges), strict=True
                ):
                    assert allowed == expected, f"{judge.broker.host}: {content}"

        check()


@pytest.mark.parametrize("salt_bytes", password_file.SALT_BYTES)
def test_each_broker_accepts_only_the_accounts_of_the_file(brokers: list[SpareBroker], salt_bytes: int) -> None:
    readers = [broker for broker in brokers if salt_bytes == 12 or broker.version >= (2, 1)]
    assert readers

    @settings(repeatable, max_examples=15)
    @given(passwords=st.dictionaries(NAMES, PASSWORDS, min_size=1, max_size=4))
    def check(passwords: dict[str, str]) -> None:
        users = [{"name": name, "password": password} for name, password in passwords.items()]
        lines, _changes = password_file.merge([], users, password_file.Parameters(101, salt_bytes))
        content = password_file.render(lines)
        accounts = {Account(name, password): True for name, password in passwords.items()}
        accounts |= {Account(name, f"{password}x"): False for name, password in passwords.items()}

        def let_in(broker: SpareBroker) -> dict[Account, bool]:
            broker.write("passwd", content)
            broker.restart()
            return {account: broker.lets_in(account) for account in accounts}

        for broker, found in zip(readers, on_each(readers, let_in), strict=True):
            assert found == accounts, broker.host

    check()
