# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients can publish on which topics. Acknowledgements prove nothing: the tests check only the messages that other subscribers receive.

After an attempt, an account that is known to work publishes the fence. Once the fence has arrived, a message of the attempt would have
arrived too. The tests in which publishing is allowed show that, since they do not wait either.
"""

from __future__ import annotations

import contextlib
import typing as t
import uuid

import pytest
from firehose_testing.clients import (
    ACCOUNT_WAYS,
    ANONYMOUS,
    MODES,
    QOS1,
    WAYS,
    Account,
    Mode,
    PahoSubscriber,
    Subscriber,
    Way,
    publish,
)
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import at_each_broker, public_units

TCP, WEBSOCKETS = Way("tcp", "3.1.1"), Way("websockets", "5")
ACCOUNT_TCP = Way("tcp", "3.1.1", account=True)

PUBLISHER = "ansible"  # the account whose username is claimed, and which has the access that the others lack
FENCE = "ci-1"
LEAF = "$SYS/broker/clients/connected"  # which the reader is allowed to read

# The credentials that a client can present without knowing a password
CLAIMS: dict[str, t.Callable[[Account], Account]] = {
    "anonymous": lambda _account: ANONYMOUS,
    "name-without-password": lambda account: Account(account.name),
    "name-with-empty-password": lambda account: Account(account.name, ""),
    "name-with-wrong-password": lambda account: Account(account.name, "wrong"),
    "name-with-password-of-another": lambda account: Account(account.name, "only-for-tests-ci-1"),
}


class Watch:
    """Subscribers to everything at one host: anonymous ones at each public broker, and one with an account."""

    def __init__(self, firehose: Firehose, stack: contextlib.ExitStack) -> None:
        self.firehose = firehose
        [reader] = firehose.readers.values()
        self._fence = firehose.publishers[FENCE]
        self._brokers = len(public_units(firehose.host))
        self._watchers: dict[str, Subscriber] = {
            f"{way.transport} {number}": watcher
            for way in (TCP, WEBSOCKETS)
            for number, watcher in enumerate(at_each_broker(stack, firehose, way), 1)
        }
        account = PahoSubscriber(firehose.address, ACCOUNT_TCP, ["#", LEAF], reader)
        self._watchers["reader"] = stack.enter_context(account)

    def fence(self, *further: Subscriber) -> None:
        """Return when each message that was published before has arrived, if it arrives at all."""
        # If a broker finds the end of one connection and a message of another at once, it may process the message
        # first. So a will can arrive after the first fence message.
        for _round in range(2):
            payload = f"fence {uuid.uuid4()}"
            publish(self.firehose.address, self._fence, ACCOUNT_TCP, QOS1, {"ci/1/fence": payload})
            for watcher in (*self._watchers.values(), *further):
                watcher.wait_for(payload=payload)

    def attempt(self, account: Account, way: Way, mode: Mode, topics: t.Sequence[str]) -> dict[str, set[str]]:
        """Publish on topics. Return the topics that reached each watcher and each client that subscribes later."""
        payloads = {topic: f"{topic} {uuid.uuid4()}" for topic in topics}
        publish(self.firehose.address, account, way, mode, payloads)
        self.fence()
        reached = {name: self._arrived(watcher, payloads) for name, watcher in self._watchers.items()}
        if mode.retain:
            newcomers = self._newcomers(payloads)
            for topic in set().union(*newcomers.values()):
                publish(self.firehose.address, account, way, mode=Mode("forget", 1, True), messages={topic: ""})
            reached |= newcomers
        return reached

    def _newcomers(self, payloads: dict[str, str]) -> dict[str, set[str]]:
        """The topics of retained messages that reach new clients, one at each public broker."""
        with contextlib.ExitStack() as stack:
            found = {name: stack.enter_context(PahoSubscriber(self.firehose.address, TCP)) for name in self.newcomers()}
            self.fence(*found.values())
            for newcomer in found.values():
                assert all(message.retain for message in newcomer.messages if message.payload in payloads.values())
            return {name: self._arrived(newcomer, payloads) for name, newcomer in found.items()}

    def newcomers(self) -> list[str]:
        return [f"newcomer {number}" for number in range(1, self._brokers + 1)]

    def all(self, mode: Mode, topics: set[str]) -> dict[str, set[str]]:
        """The result of attempt() if all subscribers receive these topics."""
        return dict.fromkeys([*self._watchers, *(self.newcomers() if mode.retain else [])], topics)

    @staticmethod
    def _arrived(subscriber: Subscriber, payloads: dict[str, str]) -> set[str]:
        got = {message.payload for message in subscriber.messages}
        return {topic for topic, payload in payloads.items() if payload in got}


@pytest.fixture(scope="module")
def watches(firehoses: Firehoses) -> t.Iterator[dict[str, Watch]]:
    with contextlib.ExitStack() as stack:
        yield {name: Watch(firehose, stack) for name, firehose in firehoses.items()}


def everybody(watches: dict[str, Watch], mode: Mode, topics: set[str]) -> dict[str, dict[str, set[str]]]:
    """The result of attempt() at each host if all subscribers receive these topics."""
    return {name: watch.all(mode, topics) for name, watch in watches.items()}


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_a_publisher_reaches_all_subscribers(
    firehoses: Firehoses, watches: dict[str, Watch], way: Way, mode: Mode
) -> None:
    reached = firehoses.each(
        lambda firehose: watches[firehose.name].attempt(firehose.publishers[PUBLISHER], way, mode, ["ansible/playbook"])
    )
    assert reached == everybody(watches, mode, {"ansible/playbook"})


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("way", [*WAYS, *ACCOUNT_WAYS], ids=str)
def test_a_client_without_the_password_reaches_no_subscriber(
    firehoses: Firehoses, watches: dict[str, Watch], way: Way, mode: Mode, claim: str
) -> None:
    reached = firehoses.each(
        lambda firehose: watches[firehose.name].attempt(
            CLAIMS[claim](firehose.publishers[PUBLISHER]), way, mode, ["ansible/playbook"]
        )
    )
    assert reached == everybody(watches, mode, set())


def topics_to_try(firehose: Firehose) -> list[str]:
    """A topic of each publisher, and other topics that look similar."""
    filters = [topic for account in firehose.publishers.values() for topic in account.topics]
    own = [topic.replace("#", "a/b").replace("+", "a") for topic in filters]
    near = ["ansible", "ansible/", "/ansible/a", "ansiblex/a", "Ansible/a", "x/ansible/a", "logs/a", "logs/a/b/done"]
    near += ["logs//done", "logs/a/done/", "ci", "ci/1", "ci/10", "ci/1x/a", "gerrit", "a"]
    return [*own, *near, LEAF]


def assert_only_own_topics(watch: Watch, account: Account, way: Way) -> None:
    topics = topics_to_try(watch.firehose)
    own = {topic for topic in topics if account.may_publish(topic)}
    assert watch.attempt(account, way, QOS1, topics) == watch.all(QOS1, own), account.name


@pytest.mark.parametrize("publisher", ["germqtt", "ansible", "Zuül, CI@example.org", "hashed"])
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_a_publisher_can_publish_only_on_its_own_topics(
    firehoses: Firehoses, watches: dict[str, Watch], way: Way, publisher: str
) -> None:
    def check(firehose: Firehose) -> None:
        account = firehose.publishers[publisher]
        assert account.topics
        assert_only_own_topics(watches[firehose.name], account, way)

    firehoses.each(check)


def test_all_publishers_can_publish_only_on_their_own_topics(firehoses: Firehoses, watches: dict[str, Watch]) -> None:
    def check(firehose: Firehose) -> None:
        assert len(firehose.publishers) == 40
        for account in firehose.publishers.values():
            assert_only_own_topics(watches[firehose.name], account, ACCOUNT_TCP)

    firehoses.each(check)


@pytest.mark.parametrize("way", [*WAYS, *ACCOUNT_WAYS], ids=str)
def test_readers_and_anonymous_clients_cannot_publish(
    firehoses: Firehoses, watches: dict[str, Watch], way: Way
) -> None:
    def check(firehose: Firehose) -> None:
        for account in (ANONYMOUS, *firehose.readers.values()):
            watch = watches[firehose.name]
            assert watch.attempt(account, way, QOS1, topics_to_try(firehose)) == watch.all(QOS1, set()), account.name

    firehoses.each(check)
