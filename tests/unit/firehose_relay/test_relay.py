# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed on, in which order, and what becomes of what NATS does not take."""

from __future__ import annotations

import logging
import typing as t

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._handshake import NoAnswer
from ansible_collections.opendev.firehose.plugins.module_utils._raw_client import Ended
from firehose_relay import relay as module
from firehose_relay.events import Event, publishers_of
from firehose_relay.relay import MOST_STRIKES, Relay

PUBLISHERS = {"germqtt": ["gerrit/#"], "ci": ["ci/+", "gerrit/ci"], "mute": []}


def event(number: int, topic: str = "gerrit/x") -> Event:
    return Event(number, topic, str(number).encode(), False)


class Core:
    """One that has some events, and has had all of them taken when it is asked in vain."""

    status = "connected"

    def __init__(self, *events: Event) -> None:
        self.connection = 0
        self.there = [*events]
        self.acknowledged: list[int] = []
        self.on_empty = lambda: None
        self.turns = 0

    def take(self, _timeout: float, *, wanted: bool) -> list[Event]:
        self.turns += 1
        if not wanted:
            return []
        if not self.there:
            self.on_empty()
        taken, self.there = self.there[:700], self.there[700:]
        return taken

    def acknowledge(self, events: list[Event]) -> None:
        self.acknowledged += [one.number for one in events]


class Nats:
    """One that ends the connection when there comes what it does not like."""

    def __init__(self, dislikes: str = "") -> None:
        self.dislikes = dislikes
        self.connections = 0
        self.got: list[int] = []
        self.batches: list[int] = []

    def __enter__(self) -> Nats:
        self.connections += 1
        return self

    def __exit__(self, *_exc: object) -> None:
        """Nothing to do."""

    def publish_all(self, messages: t.Iterable[tuple[str, bytes, bool]]) -> None:
        batch = [*messages]
        self.batches.append(len(batch))
        for topic, payload, _retain in batch:
            if topic == self.dislikes:
                raise Ended("it ended the connection")
            self.got.append(int(payload))


def run(core: Core, nats: Nats, monkeypatch: pytest.MonkeyPatch) -> Relay:
    relay = Relay(core, lambda: nats, PUBLISHERS, lambda _line: None)
    monkeypatch.setattr(module, "FIRST_DELAY", 0)
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.001)
    core.on_empty = lambda: relay.stop() if not relay._waiting else None
    relay.run()
    return relay


def test_all_is_handed_on_in_order_and_then_acknowledged(monkeypatch):
    core, nats = Core(*map(event, range(1200))), Nats()
    relay = run(core, nats, monkeypatch)
    assert nats.got == core.acknowledged == [*range(1200)]
    assert relay.line() == "core connected; NATS connected; 1200 handed on, 0 refused"


def test_what_nats_cannot_carry_costs_no_other_event(monkeypatch, caplog):
    core, nats = Core(event(1), event(2, "ci/a b"), event(3)), Nats()
    relay = run(core, nats, monkeypatch)
    assert nats.got == [1, 3]
    assert sorted(core.acknowledged) == [1, 2, 3]
    assert nats.connections == 1
    assert relay.refused == 1
    assert caplog.messages[-1] == (
        "an event of ci on the topic 'ci/a b' is not handed on: NATS knows no topics with blanks"
    )


def test_an_event_that_ends_connections_is_found_and_left_out(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    core, nats = Core(event(1), event(2), event(3, "ci/bad"), event(4), event(5)), Nats("ci/bad")
    relay = run(core, nats, monkeypatch)
    # At least once, and the first of each in order.
    assert [*dict.fromkeys(nats.got)] == [1, 2, 4, 5]
    assert sorted(core.acknowledged) == [1, 2, 3, 4, 5]
    assert (relay.handed_on, relay.refused) == (4, 1)
    # Together with others, alone so many times, and once more for what is behind it.
    assert nats.connections == 1 + MOST_STRIKES + 1
    assert (
        "an event of ci on the topic 'ci/bad' is not handed on: NATS ended the connection, 5 times" in caplog.messages
    )


def test_a_nats_that_is_away_costs_nothing(monkeypatch):
    core, nats = Core(event(1), event(2)), Nats()
    attempts = iter([NoAnswer("cannot be reached")] * (3 * MOST_STRIKES))

    def enter() -> Nats:
        for exc in attempts:
            raise exc
        return nats

    monkeypatch.setattr(Nats, "__enter__", lambda _self: enter())
    relay = run(core, nats, monkeypatch)
    assert nats.got == core.acknowledged == [1, 2]
    assert relay.refused == 0


def test_a_nats_that_does_not_answer_costs_nothing(monkeypatch):
    core, nats = Core(event(1), event(2)), Nats()
    silent = iter([NoAnswer("it does not answer")] * (3 * MOST_STRIKES))
    publish_all = nats.publish_all

    def try_to(messages: t.Iterable[tuple[str, bytes, bool]]) -> None:
        for exc in silent:
            raise exc
        publish_all(messages)

    monkeypatch.setattr(nats, "publish_all", try_to)
    relay = run(core, nats, monkeypatch)
    assert nats.got == core.acknowledged == [1, 2]
    assert relay.refused == 0


def test_batches_have_a_bound(monkeypatch):
    core, nats = Core(*map(event, range(1400))), Nats()
    run(core, nats, monkeypatch)
    assert [size for size in nats.batches if size] == [500, 500, 400]
    # Each payload is one byte.
    monkeypatch.setattr(module, "MOST_BYTES", 3)
    core, nats = Core(*map(event, range(8))), Nats()
    run(core, nats, monkeypatch)
    assert [size for size in nats.batches if size] == [3, 3, 2]
    assert nats.got == core.acknowledged == [*range(8)]


def test_while_nats_is_away_the_core_is_kept_and_what_it_sends_has_a_bound(monkeypatch):
    core, nats = Core(*map(event, range(5000))), Nats()
    relay = Relay(core, lambda: nats, PUBLISHERS, lambda _line: None)
    for _time in range(3):
        # Turns at the core, while there are no fewer than it takes
        relay._pause(0.01)
    assert core.turns > 5
    assert len(relay._waiting) == 5000 - len(core.there) == 2100
    assert nats.got == core.acknowledged == []
    core.on_empty = lambda: relay.stop() if not relay._waiting else None
    relay.run()
    assert nats.got == core.acknowledged == [*range(5000)]
    # Each payload is four bytes by now.
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 4000)
    core = Core(*map(event, range(5000, 9000)))
    relay = Relay(core, lambda: nats, PUBLISHERS, lambda _line: None)
    relay._pause(0.01)
    assert 1000 <= len(relay._waiting) < 2000


def test_what_came_at_qos_0_outlives_the_connection(monkeypatch):
    core, nats = Core(event(0), event(1)), Nats()
    relay = Relay(core, lambda: nats, PUBLISHERS, lambda _line: None)
    relay._pause(0.01)
    core.connection = 1
    core.there = [event(1)]
    core.on_empty = lambda: relay.stop() if not relay._waiting else None
    relay.run()
    assert nats.got == [0, 1]


def test_what_the_core_sends_again_is_not_handed_on_twice(monkeypatch):
    core = Core(event(1), event(2, "gerrit/last"))
    nats = Nats("gerrit/last")

    def reconnect(messages: t.Iterable[tuple[str, bytes, bool]]) -> None:
        payloads = [payload for _topic, payload, _retain in messages]
        if payloads and nats.dislikes:
            # NATS fails, and meanwhile the core's connection is another one, by which everything comes again.
            nats.dislikes = ""
            core.connection = 1
            core.there = [event(1), event(2, "gerrit/last")]
            raise Ended("it ended the connection")
        nats.got.extend(map(int, payloads))

    monkeypatch.setattr(nats, "publish_all", reconnect)
    run(core, nats, monkeypatch)
    assert nats.got == core.acknowledged == [1, 2]


@pytest.mark.parametrize(
    ("topic", "who"), [("gerrit/x", "germqtt"), ("gerrit/ci", "germqtt or ci"), ("ci/a b", "ci"), ("$x", "somebody")]
)
def test_who_may_have_published_it_is_named(topic, who):
    assert publishers_of(topic, PUBLISHERS) == who
