# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Trying out on a live firehose what _verify says: with real clients, as the public has them."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _mqtt, _mqtt_client, _topics, _verify
from ansible_collections.opendev.firehose.plugins.module_utils._verify import FAILED, NOT_CHECKED, PASSED, Check

SAME = "all listeners deliver the same message"
# What a client gets that may not come in. Mosquitto 2.0.11 hangs up without a word on a will that it does not take.
TURNED_AWAY = ("login", "refused", "lost", "not_mqtt")
# A broker that finds the end of one connection and a message of another at once may take the message first, so that a will
# comes after the first message that was sent later.
FENCES = 2


class Verification:
    """One run on one firehose. Collects the checks."""

    def __init__(
        self, host: str, ways: t.Sequence[_verify.Way], public_topics: t.Sequence[str], timeout: float, mark: str
    ) -> None:
        self.checks: list[Check] = []
        self._public_topics = public_topics
        self._host, self._ways, self._timeout, self._mark = host, [*ways], timeout, mark
        self._base = f"firehose/verify/{mark}"
        self._stack = contextlib.ExitStack()
        self._watchers: dict[_verify.Way, _mqtt_client.Session] = {}
        self._feed: _mqtt_client.Session | None = None
        self._count = 0

    def __enter__(self) -> Verification:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def run(
        self,
        probe: _verify.Publisher | None,
        publishers: t.Sequence[_verify.Publisher],
        *,
        check_publishers: bool,
        feed: str | None,
        feed_timeout: float,
        feed_max_age: float,
    ) -> list[Check]:
        """Do all of it. Without a probe nothing is published."""
        try:
            own = [topic for publisher in publishers for topic in [_verify.own_topic(publisher, self._mark)] if topic]
            self.watch(own, feed)
            if not self._watchers:
                self.checks.append(
                    Check("there is a listener for the public", FAILED, "none that could be tried lets anyone in")
                )
                return self.checks
            if probe:
                self.publishing(probe, publishers)
            else:
                self.checks.append(
                    Check("nobody publishes without a password", NOT_CHECKED, "there is no account to compare with")
                )
            if probe and check_publishers:
                self.publishers(publishers)
            self.sys_topics()
            if feed:
                self.feed(feed, feed_timeout, feed_max_age)
        except _mqtt.Failure as exc:
            self.checks.append(Check("connections last as long as they are used", FAILED, str(exc)))
        return self.checks

    def publishing(self, probe: _verify.Publisher, publishers: t.Sequence[_verify.Publisher]) -> None:
        """Have those publish who may not, then one who may; what the first sent would have come before the second's."""
        anonymous, worthless = (
            "clients without a name publish nothing",
            "a publisher's name is worth nothing without its password",
        )
        if not self._is_public(f"{self._base}/fence"):
            why = "the public may not read firehose/verify/#, by which it would be seen"
            self.checks += [Check(name, NOT_CHECKED, why) for name in (SAME, anonymous, worthless)]
            return
        seen = [publisher for publisher in publishers if self._is_public(_verify.own_topic(publisher, self._mark))]
        attempts = {
            anonymous: _verify.anonymous_attempts(self._ways, seen, f"{self._base}/anonymous", self._mark),
            worthless: _verify.claiming_attempts(self._ways, seen, self._mark),
        }
        made = {name: self.attempt(some) for name, some in attempts.items()}
        if not self.fence(probe):
            self.checks += [Check(name, NOT_CHECKED, "what would reach subscribers is not known") for name in attempts]
            return
        reached = self.reached([attempt for some, _untried in made.values() for attempt in some])
        self.checks += [_verify.outcome(name, some, reached, untried) for name, (some, untried) in made.items()]

    def _is_public(self, topic: str | None) -> bool:
        return topic is not None and any(_topics.matches(public, topic) for public in self._public_topics)

    def _session(self, way: _verify.Way, **options: t.Any) -> _mqtt_client.Session:
        spec = {name: option.get("default") for name, option in _mqtt.argument_spec().items()}
        place = {"host": self._host, "port": way.port, "transport": {"mqtt": "tcp"}.get(way.protocol, way.protocol)}
        limits = {"protocol_version": way.version, "connect_timeout": self._timeout}
        will = options.pop("will", None)
        return _mqtt_client.Session({**spec, **place, **limits, **options}, will=will)

    def _newest_ways(self) -> list[_verify.Way]:
        return [way for way in self._ways if way.version == _verify.VERSIONS[-1]]

    def watch(self, topics: t.Sequence[str], feed: str | None) -> None:
        """Subscribe at every listener to what will be tried, to $SYS, and to the feed. What does not serve is left alone from then on."""
        all_ways, self._ways = self._ways, []
        for way in all_ways:
            name = f"{way} lets anyone in"
            try:
                session = self._stack.enter_context(self._session(way))
                if way.version == _verify.VERSIONS[-1]:
                    session.subscribe([*topics, f"{self._base}/#", "$SYS/#"], 1)
                    self._watchers[way] = session
                self._ways.append(way)
                self.checks.append(Check(name, PASSED))
            except _mqtt.Failure as exc:
                self.checks.append(Check(name, FAILED, str(exc)))
        if feed and self._watchers:
            self._feed = self._stack.enter_context(self._session(next(iter(self._watchers))))
            self._feed.subscribe([f"{feed}/#"], 1)

    def _stay(self) -> None:
        """Have the watchers take what came, and say that they are there."""
        for session in [*self._watchers.values(), *([self._feed] if self._feed else [])]:
            session.run(lambda: False, time.monotonic() + 0.001)

    def _try(self, attempt: _verify.Attempt, payload: str) -> None:
        mode = attempt.mode
        will = (attempt.topic, payload, mode.qos, mode.retain) if mode.will else None
        login = {"username": attempt.username, "password": attempt.password}
        with self._session(attempt.way, will=will, **login) as session:
            if mode.will:
                session.vanish()
            else:
                session.publish(attempt.topic, payload, mode.qos, mode.retain)

    def attempt(self, attempts: t.Iterable[_verify.Attempt]) -> tuple[list[_verify.Attempt], dict[int, str]]:
        """Make attempts; return them with their numbers, and why some could not be made. A refusal is no such reason."""
        made, untried = _verify.numbered(attempts, self._count), {}
        self._count += len(made)
        for attempt in made:
            try:
                self._try(attempt, attempt.payload)
            except _mqtt.Failure as exc:
                if exc.cause not in TURNED_AWAY:
                    untried[attempt.number] = str(exc)
            self._stay()
        return made, untried

    def fence(self, probe: _verify.Publisher) -> bool:
        """Have an account that may publish do so until every listener has delivered the same message, and all that came before."""
        for _round in range(FENCES):
            [fence] = _verify.numbered(
                [_verify.Attempt(0, self._newest_ways()[0], _verify.Mode(1), f"{self._base}/fence", self._mark)],
                self._count,
            )
            self._count += 1
            try:
                with self._session(fence.way, username=probe.name, password=probe.password) as session:
                    session.publish(fence.topic, fence.payload, 1, False)
            except _mqtt.Failure as exc:
                self.checks.append(Check(SAME, FAILED, f"the account {probe.name!r} cannot publish: {exc}"))
                return False
            for way, session in self._watchers.items():
                if not self._wait_for(session, fence.topic, fence.payload):
                    self.checks.append(
                        Check(SAME, FAILED, f"it did not come through {way} within {self._timeout:g} seconds")
                    )
                    return False
        self.checks.append(Check(SAME, PASSED, ", ".join(map(str, self._watchers))))
        return True

    def _wait_for(self, session: _mqtt_client.Session, topic: str, payload: str) -> bool:
        def there() -> bool:
            return any((message.topic, message.payload) == (topic, payload.encode()) for message in session.messages)

        return session.run(there, time.monotonic() + self._timeout)

    def reached(self, attempts: t.Sequence[_verify.Attempt]) -> set[int]:
        """The numbers of the attempts that reached a subscriber, or would reach one that comes later. Takes back what is retained."""
        topics = sorted({attempt.topic for attempt in attempts if attempt.mode.retain})
        got = {message.payload for session in self._watchers.values() for message in session.messages}
        if topics:
            with self._session(self._newest_ways()[0]) as newcomer:
                newcomer.subscribe(topics, 1)
                # What is retained comes right behind the confirmation.
                newcomer.run(lambda: False, time.monotonic() + 1)
                got |= {message.payload for message in newcomer.messages}
        found = {attempt.number for attempt in attempts if attempt.payload.encode() in got}
        for attempt in attempts:
            if attempt.number in found and attempt.mode.retain:
                self._try(attempt, "")
        return found

    def sys_topics(self) -> None:
        """$SYS was subscribed to all the time, and its leaves are retained."""
        name = "$SYS is closed"
        for session in self._watchers.values():
            session.run(lambda: False, time.monotonic() + 1)
        seen = {
            message.topic: way
            for way, session in self._watchers.items()
            for message in session.messages
            if message.topic.startswith("$SYS")
        }
        if seen:
            topic, way = next(iter(seen.items()))
            self.checks.append(
                Check(name, FAILED, f"{len(seen)} topics can be read, among them {topic!r} through {way}")
            )
        else:
            self.checks.append(Check(name, PASSED))

    def feed(self, topic: str, timeout: float, max_age: float) -> None:
        """Wait for an event of Gerrit that is not older than it may be."""
        name = f"events arrive below {topic!r}"
        problem = f"none came within {timeout:g} seconds"
        deadline = time.monotonic() + timeout
        while self._feed is not None and self._feed.run(lambda: bool(self._feed and self._feed.messages), deadline):
            message = self._feed.messages.popleft()
            if message.retain or self._mark in message.topic:
                continue
            found = _verify.feed_problem(message.payload, time.time(), max_age)
            if found is None:
                self.checks.append(Check(name, PASSED, f"for example on {message.topic!r}"))
                return
            problem = f"the last one that came, on {message.topic!r}, is not fresh: {found}"
        if self._feed is None:
            problem = "nobody could subscribe to them"
        self.checks.append(Check(name, FAILED, problem))

    def publishers(self, publishers: t.Sequence[_verify.Publisher]) -> None:
        """Have every publisher whose password is known publish, and see that it arrives everywhere."""
        for publisher in publishers:
            name = f"publisher {publisher.name!r} delivers"
            topic = _verify.own_topic(publisher, self._mark)
            if publisher.password is None or not self._is_public(topic):
                known = publisher.password is not None
                why = "the public may not read what it writes" if known else "its password is not known"
                self.checks.append(Check(name, NOT_CHECKED, why))
                continue
            way = self._newest_ways()[0]
            who = f"the publisher {publisher.name!r}"
            attempt = _verify.Attempt(
                0, way, _verify.Mode(1), topic, self._mark, who, publisher.name, publisher.password
            )
            [made] = _verify.numbered([attempt], self._count)
            self._count += 1
            self._stay()
            try:
                self._try(made, made.payload)
            except _mqtt.Failure as exc:
                self.checks.append(Check(name, FAILED, str(exc)))
                continue
            missing = [
                str(way) for way, session in self._watchers.items() if not self._wait_for(session, topic, made.payload)
            ]
            self.checks.append(
                Check(name, FAILED, f"what it published on {topic!r} did not come through {', '.join(missing)}")
                if missing
                else Check(name, PASSED, f"on {topic!r}")
            )
