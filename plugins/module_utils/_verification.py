# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Trying out on a live firehose what _verify says: with real clients, as the public has them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import (
    _mqtt,
    _mqtt_client,
    _topics,
    _verify,
    _verify_clients,
)
from ansible_collections.opendev.firehose.plugins.module_utils._verify import FAILED, NOT_CHECKED, PASSED, Check

SAME = "all listeners deliver the same message"
ANONYMOUS = "clients without a name publish nothing"
WORTHLESS = "a publisher's name is worth nothing without its password"
# A broker that finds the end of one connection and a message of another at once may take the message first, so that a will
# comes after the first message that was sent later.
FENCES = 2


class Verification:
    """One run on one firehose. Collects the checks."""

    def __init__(
        self,
        clients: _verify_clients.Clients,
        ways: t.Sequence[_verify.Way],
        public_topics: t.Sequence[str],
        mark: str,
        probe: _verify.Publisher | None,
        certificate_days: int = 14,
    ) -> None:
        """Without a probe nothing is published. Certificates that last fewer days are warned of."""
        self.checks: list[Check] = []
        self._clients, self._ways, self._public_topics = clients, [*ways], public_topics
        self._mark, self._base = mark, f"firehose/verify/{mark}"
        self._probe, self._certificate_days = probe, certificate_days
        self._stack = contextlib.ExitStack()
        self._watchers: dict[_verify.Way, _mqtt_client.Session] = {}
        # The same for the probe, which may read what the public may not.
        self._readers: dict[_verify.Way, _mqtt_client.Session] = {}
        self._blind: str | None = None
        self._feed: _mqtt_client.Session | None = None
        self._count = 0

    def __enter__(self) -> Verification:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def run(
        self,
        publishers: t.Sequence[_verify.Publisher],
        anonymous_topics: t.Sequence[str],
        *,
        check_publishers: bool,
        feed: str | None,
        feed_timeout: float,
        feed_max_age: float,
    ) -> list[Check]:
        """Do all of it."""
        try:
            self.watch(publishers, anonymous_topics, feed)
            if not self._watchers:
                self.checks.append(
                    Check("there is a listener for the public", FAILED, "none that could be tried lets anyone in")
                )
                return self.checks
            if self._probe:
                self.publishing(publishers, anonymous_topics)
            else:
                self.checks.append(
                    Check("nobody publishes without a password", NOT_CHECKED, "there is no account to compare with")
                )
            if self._probe and check_publishers:
                self.publishers(publishers)
            self.sys_topics()
            self.feed(feed, feed_timeout, feed_max_age)
        except _mqtt.Failure as exc:
            self.checks.append(Check("connections last as long as they are used", FAILED, str(exc)))
        return self.checks

    def publishing(self, publishers: t.Sequence[_verify.Publisher], anonymous_topics: t.Sequence[str]) -> None:
        """Have those publish who may not, then one who may; what the first sent would have come before the second's."""
        ways, base, mark = self._ways, self._base, self._mark
        attempts = {
            ANONYMOUS: _verify.anonymous_attempts(ways, publishers, anonymous_topics, f"{base}/anonymous", mark),
            WORTHLESS: _verify.claiming_attempts(ways, publishers, f"{base}/claim", mark),
        }
        made = {name: self._clients.make_all(self._numbered(some), self._stay) for name, some in attempts.items()}
        problem = self._blind or self.fence()
        self.checks.append(
            Check(SAME, FAILED, problem) if problem else Check(SAME, PASSED, ", ".join(map(str, self._watchers)))
        )
        if problem:
            self.checks += [Check(name, NOT_CHECKED, "what would reach subscribers is not known") for name in attempts]
            return
        reached, left = self.reached([attempt for some in made.values() for attempt in some.attempts])
        self.checks += [_verify.outcome(name, some, reached, left) for name, some in made.items()]

    def _is_public(self, topic: str) -> bool:
        return any(_topics.matches(public, topic) for public in self._public_topics)

    def _numbered(self, attempts: t.Iterable[_verify.Attempt]) -> list[_verify.Attempt]:
        numbered = _verify.numbered(attempts, self._count)
        self._count += len(numbered)
        return numbered

    @property
    def _login(self) -> tuple[str | None, str | None]:
        return (self._probe.name, self._probe.password) if self._probe else (None, None)

    def _audience(self, topic: str) -> dict[str, _mqtt_client.Session]:
        """Who has to get what is published on a topic."""
        readers = {f"{way} for the account {self._login[0]!r}": session for way, session in self._readers.items()}
        public = {str(way): session for way, session in self._watchers.items()} if self._is_public(topic) else {}
        return public | readers

    def watch(
        self, publishers: t.Sequence[_verify.Publisher], anonymous_topics: t.Sequence[str], feed: str | None
    ) -> None:
        """Subscribe at every listener to what will be tried, to $SYS, and to the feed. What does not serve is left alone from then on."""
        trying = [*publishers, *(_verify.Publisher("", (topic_filter,)) for topic_filter in anonymous_topics)]
        own = [topic for one in trying for topic in [_verify.own_topic(one, self._mark)] if topic]
        topics = [*dict.fromkeys(own), f"{self._base}/#"]
        served = []
        watchers: dict[_verify.Way, _mqtt_client.Session] = {}
        for way in self._ways:
            name, problem = f"{way} lets anyone in", None
            try:
                if way.version == _verify.VERSIONS[-1]:
                    watchers[way] = self._watcher(way, [*topics, "$SYS/#"])
                else:
                    with self._clients.session(way):
                        pass
                served.append(way)
                self.checks.append(Check(name, PASSED))
            except _mqtt.Failure as exc:
                problem = str(exc) if exc.cause == "tls" else None
                self.checks.append(Check(name, FAILED, str(exc)))
            if way.tls and way.version == _verify.VERSIONS[-1]:
                self._certificate(way, watchers.get(way), problem)
        # A listener says what it takes with MQTT 5 only.
        limits = {way.port: {"max_qos": one.max_qos, "retain": one.retain_available} for way, one in watchers.items()}
        self._ways = [dataclasses.replace(way, **limits.get(way.port, {})) for way in served]
        self._watchers = {dataclasses.replace(way, **limits[way.port]): session for way, session in watchers.items()}
        if feed and self._watchers and self._may_be_public(feed):
            self._feed = self._watcher(next(iter(self._watchers)), [f"{feed}/#"])
        try:
            self._readers = {way: self._watcher(way, topics, self._login) for way in self._watchers if self._probe}
        except _mqtt.Failure as exc:
            self._blind = str(exc)

    def _certificate(self, way: _verify.Way, session: _mqtt_client.Session | None, problem: str | None) -> None:
        shown = session.certificate() if session else None
        self.checks.append(_verify.certificate_check(way, shown, problem, self._certificate_days))

    def _watcher(
        self, way: _verify.Way, topics: t.Sequence[str], login: tuple[str | None, str | None] = (None, None)
    ) -> _mqtt_client.Session:
        session = self._stack.enter_context(self._clients.session(way, login))
        session.subscribe(topics, 1)
        return session

    def _stay(self) -> None:
        """Have the watchers take what came, and say that they are there."""
        for session in [*self._watchers.values(), *self._readers.values(), *([self._feed] if self._feed else [])]:
            session.run(lambda: False, time.monotonic() + 0.001)

    def fence(self) -> str | None:
        """Have an account that may publish do so until every listener has delivered the same message, and all that came before.

        Return what is wrong, or None.
        """
        for _round in range(FENCES):
            problem = self._deliver(f"{self._base}/fence", *self._login)
            if problem:
                return f"published by the account {self._login[0]!r}: {problem}"
        return None

    def _deliver(self, topic: str, name: str | None, password: str | None) -> str | None:
        """Publish what may be published; say why it did not come to all who have to get it, or None."""
        [way, *_others] = self._watchers
        [attempt] = self._numbered(
            [_verify.Attempt(0, way, _verify.single(way), topic, self._mark, username=name, password=password)]
        )
        try:
            code = self._clients.make(attempt, attempt.payload)
        except _mqtt.Failure as exc:
            return str(exc)
        if code >= _mqtt.FIRST_REFUSAL:
            return f"the broker refused it: {_mqtt.reason(code)}"
        audience = self._audience(attempt.topic)
        missing = [place for place, session in audience.items() if not self._wait_for(session, attempt)]
        if missing:
            return f"it did not come through {', '.join(missing)} within {self._clients.timeout:g} seconds"
        return None

    def _wait_for(self, session: _mqtt_client.Session, attempt: _verify.Attempt) -> bool:
        wanted = (attempt.topic, attempt.payload.encode())

        def there() -> bool:
            return any((message.topic, message.payload) == wanted for message in session.messages)

        return session.run(there, self._clients.deadline(self._clients.timeout))

    def reached(self, attempts: t.Sequence[_verify.Attempt]) -> tuple[set[int], dict[int, str]]:
        """The numbers of the attempts that reached a subscriber, or would reach one that comes later.

        Takes back what is retained, and says of which attempts it could not, and why.
        """
        topics = sorted({attempt.topic for attempt in attempts if attempt.mode.retain})
        sessions = [*self._watchers.values(), *self._readers.values()]
        got = {message.payload for session in sessions for message in session.messages}
        if topics:
            with self._clients.session(next(iter(self._watchers)), self._login) as newcomer:
                newcomer.subscribe(topics, 1)
                # What is retained comes right behind the confirmation.
                newcomer.run(lambda: False, time.monotonic() + 1)
                newcomer.unsubscribe(topics)
                got |= {message.payload for message in newcomer.messages}
        found = {attempt.number for attempt in attempts if attempt.payload.encode() in got}
        stay = [attempt for attempt in attempts if attempt.number in found and attempt.mode.retain]
        problems = {attempt.number: self._clients.take_back(attempt) for attempt in stay}
        return found, {number: problem for number, problem in problems.items() if problem}

    def sys_topics(self) -> None:
        """$SYS was subscribed to all the time, and its leaves are retained."""
        name = "$SYS is closed"
        for session in self._watchers.values():
            session.run(lambda: False, time.monotonic() + 1)
            session.unsubscribe(["$SYS/#"])  # which tells a silent broker from a dead connection
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

    def _may_be_public(self, feed: str) -> bool:
        return any(_topics.overlap(public, f"{feed}/#") for public in self._public_topics)

    def feed(self, topic: str | None, timeout: float, max_age: float) -> None:
        """Wait for an event of Gerrit that is not older than it may be."""
        name = f"events arrive below {topic!r}" if topic else "events arrive"
        if not topic or not self._feed:
            why = f"the public may not read {topic + '/#'!r}" if topic else "there is no feed to wait for"
            self.checks.append(Check(name, NOT_CHECKED, why))
            return
        session, problem = self._feed, f"none came within {timeout:g} seconds"
        deadline = self._clients.deadline(timeout)
        while session.run(lambda: bool(session.messages), deadline):
            message = session.messages.popleft()
            if message.retain or self._mark in message.topic:
                continue
            found = _verify.feed_problem(message.payload, time.time(), max_age)
            if found is None:
                self.checks.append(Check(name, PASSED, f"for example on {message.topic!r}"))
                return
            problem = f"the last one that came, on {message.topic!r}, is not fresh: {found}"
        self.checks.append(Check(name, FAILED, problem))

    def publishers(self, publishers: t.Sequence[_verify.Publisher]) -> None:
        """Have every publisher whose password is known publish, and see that it arrives everywhere."""
        for publisher in publishers:
            topic = _verify.own_topic(publisher, self._mark)
            if topic is None:
                continue  # it may not publish
            name = f"publisher {publisher.name!r} delivers"
            if publisher.password is None:
                self.checks.append(Check(name, NOT_CHECKED, "its password is not known"))
                continue
            self._stay()
            problem = self._deliver(topic, publisher.name, publisher.password)
            secret = "" if self._is_public(topic) else ", which the public may not read"
            self.checks.append(
                Check(name, FAILED, problem) if problem else Check(name, PASSED, f"on {topic!r}{secret}")
            )
