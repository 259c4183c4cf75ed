# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the checks of the plan on a live firehose, with real clients that connect as anonymous clients do."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import reasons, topic_filters
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan, sessions
from ansible_collections.opendev.firehose.plugins.module_utils._verify.plan import FAILED, NOT_CHECKED, PASSED, Check

SAME = "all listeners deliver the same message"
ANONYMOUS = "anonymous clients cannot publish"
WORTHLESS = "publishers need their password"
UNKNOWN = "what would reach subscribers is not known"
SYS = "$SYS/#"
# A broker may process a message before the earlier end of another connection, so that a will comes after the first message
# that was sent later. And the beacon reports a received message only in its next message.
FENCES = 2


class Verification:
    """One run on one firehose. Collects the checks."""

    def __init__(
        self,
        clients: sessions.Clients,
        ways: t.Sequence[plan.Way],
        public_topics: t.Sequence[str],
        mark: str,
        problem: str | None,
        certificate_days: int = 14,
    ) -> None:
        """Set up a run. The problem says why there is no beacon to measure the other clients' silence by, or is None.

        Certificates that last fewer days give a warning.
        """
        self.checks: list[Check] = []
        self._clients, self._ways, self._public_topics = clients, [*ways], public_topics
        self._mark, self._certificate_days = mark, certificate_days
        self._blind: Check | None = None
        if problem is not None:
            self._blind = Check(SAME, FAILED, problem)
        elif not plan.may_read(public_topics, self._place(plan.BEACON)):
            self._blind = Check(SAME, NOT_CHECKED, "anonymous clients may read no unused topic")
        self._stack = contextlib.ExitStack()
        self._watchers: dict[plan.Way, Session] = {}
        self._feed: Session | None = None

    def __enter__(self) -> Verification:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def run(
        self,
        publishers: t.Sequence[plan.Publisher],
        anonymous_topics: t.Sequence[str],
        *,
        publish: bool,
        check_publishers: bool,
        feed: str | None,
        feed_timeout: float,
        feed_max_age: float,
    ) -> list[Check]:
        """Run all checks. Without publish, leave out the checks that need publishing."""
        try:
            self.watch(publishers, anonymous_topics, feed)
            if not self._watchers:
                self.checks.append(
                    Check(
                        "there is a listener for anonymous clients",
                        FAILED,
                        "none that could be tried accepts anonymous clients",
                    )
                )
                return self.checks
            if publish:
                self.publishing(publishers, anonymous_topics)
            else:
                self.checks.append(
                    Check("publishing needs a password", NOT_CHECKED, "there is no account to compare with")
                )
            if publish and check_publishers:
                self.publishers(publishers)
            self.sys_topics()
            self.retained()
            self.feed(feed, feed_timeout, feed_max_age)
        except reasons.Failure as exc:
            self.checks.append(Check("connections last as long as they are used", FAILED, str(exc)))
        return self.checks

    def publishing(self, publishers: t.Sequence[plan.Publisher], anonymous_topics: t.Sequence[str]) -> None:
        """Try to publish with clients that must be rejected, then wait for the beacon: their messages would have arrived before it."""
        ways, mark = self._ways, self._mark
        anonymous = plan.anonymous_attempts(ways, publishers, anonymous_topics, self._place(plan.ANONYMOUS), mark)
        claims = plan.claiming_attempts(ways, publishers, self._place(plan.CLAIM), mark)
        made = {
            ANONYMOUS: self._clients.make_all(plan.numbered(anonymous, 0), self._stay),
            WORTHLESS: self._clients.make_all(plan.numbered(claims, len(anonymous)), self._stay),
        }
        beacon = self.fence()
        if isinstance(beacon, Check):
            self.checks.append(beacon)
            self.checks += [Check(name, NOT_CHECKED, UNKNOWN) for name in made]
            return
        self.checks.append(Check(SAME, PASSED, ", ".join(map(str, self._watchers))))
        reached, left = self.reached([attempt for some in made.values() for attempt in some.attempts], beacon.attempts)
        self.checks += [plan.outcome(name, some, reached, left) for name, some in made.items()]

    def _place(self, what: str) -> str:
        return plan.place(self._public_topics, self._mark, what)

    def watch(
        self, publishers: t.Sequence[plan.Publisher], anonymous_topics: t.Sequence[str], feed: str | None
    ) -> None:
        """Subscribe at every listener to the topics of the attempts and to $SYS, and at one to the feed. Then skip ways that failed."""
        topics = plan.watched(publishers, anonymous_topics, self._public_topics, self._mark)
        filters = plan.filters(topics, self._mark)
        served = []
        watchers: dict[plan.Way, Session] = {}
        for way in self._ways:
            name, problem = f"{way} accepts anonymous clients", None
            try:
                if way.version == plan.VERSIONS[-1]:
                    watchers[way] = self._watcher(way, [*filters, SYS])
                else:
                    with self._clients.session(way):
                        pass
                served.append(way)
                self.checks.append(Check(name, PASSED))
            except reasons.Failure as exc:
                problem = str(exc) if exc.cause == "tls" else None
                self.checks.append(Check(name, FAILED, str(exc)))
            if way.tls and way.version == plan.VERSIONS[-1]:
                self._certificate(way, watchers.get(way), problem)
        # Only with MQTT 5 a listener tells its limits.
        limits = {way.port: {"max_qos": one.max_qos, "retain": one.retain_available} for way, one in watchers.items()}
        self._ways = [dataclasses.replace(way, **limits.get(way.port, {})) for way in served]
        self._watchers = {dataclasses.replace(way, **limits[way.port]): session for way, session in watchers.items()}
        if feed and self._watchers and self._may_be_public(feed):
            self._feed = self._watcher(next(iter(self._watchers)), [f"{feed}/#"])

    def closed(self, ways: t.Iterable[plan.Way]) -> list[Check]:
        """Try anonymous logins at the listeners for accounts. A listener that cannot be reached is not checked."""
        checks = []
        for way in ways:
            name = f"{way} rejects clients without an account"
            try:
                with self._clients.session(way):
                    pass
                checks.append(Check(name, FAILED, "it accepts anonymous clients"))
            except reasons.Failure as exc:
                result = {"login": PASSED, "tls": FAILED}.get(exc.cause, NOT_CHECKED)
                checks.append(Check(name, result, "" if result == PASSED else str(exc)))
        return checks

    def _certificate(self, way: plan.Way, session: Session | None, problem: str | None) -> None:
        shown = session.certificate() if session else None
        self.checks.append(plan.certificate_check(way, shown, problem, self._certificate_days))

    def _watcher(self, way: plan.Way, topics: t.Sequence[str]) -> Session:
        session = self._stack.enter_context(self._clients.session(way))
        session.subscribe(topics, 1)
        return session

    def _stay(self) -> None:
        """Let the watchers receive pending messages, and keep their connections alive."""
        for session in [*self._watchers.values(), *([self._feed] if self._feed else [])]:
            session.run(lambda: False, time.monotonic() + 0.001)

    def _beacons(self, session: Session) -> dict[int, plan.Beacon]:
        """The messages of the beacon that a watcher received, by number."""
        topic = self._place(plan.BEACON)
        read = [plan.Beacon.read(one.payload, self._mark) for one in session.messages if one.topic == topic]
        return {beacon.number: beacon for beacon in read if beacon}

    def fence(self) -> plan.Beacon | Check:
        """Wait until every listener has delivered the same message of the beacon, and all messages before it.

        Return it, or a check with the problem.
        """
        if self._blind:
            return self._blind
        late = self._clients.late()
        if late:
            return Check(SAME, FAILED, late)
        topic = self._place(plan.BEACON)
        for session in self._watchers.values():
            session.subscribe([topic], 1)  # the answer comes after all that the broker has sent before
        wanted = max(max(self._beacons(session), default=0) for session in self._watchers.values()) + FENCES
        deadline = self._clients.deadline(self._clients.timeout)
        missing = [
            str(way)
            for way, session in self._watchers.items()
            if not session.run(functools.partial(self._has, session, wanted), deadline)
        ]
        if missing:
            words = f"it did not come through {', '.join(missing)} within {self._clients.timeout:g} seconds"
            return Check(SAME, FAILED, f"published on the firehose's host: {words}")
        [beacon, *others] = [self._beacons(session)[wanted] for session in self._watchers.values()]
        if any(other.payload != beacon.payload for other in others):
            return Check(SAME, FAILED, f"what was published on {topic!r} is not the same everywhere")
        return beacon

    def _has(self, session: Session, number: int) -> bool:
        return number in self._beacons(session)

    def reached(self, attempts: t.Sequence[plan.Attempt], heard: t.Collection[int]) -> tuple[set[int], dict[int, str]]:
        """The numbers of the attempts that reached a subscriber, or would reach a later one.

        Attempts that were heard on the firehose's host count too. Removes their retained messages, and returns by number why that failed.
        """
        topics = sorted({attempt.topic for attempt in attempts if attempt.mode.retain})
        if topics:
            watcher = next(iter(self._watchers.values()))
            # A repeated subscription gets the retained messages, right after the confirmation.
            watcher.subscribe(plan.filters(topics, self._mark), 1)
            watcher.run(lambda: False, time.monotonic() + 1)
        got = {message.payload for session in self._watchers.values() for message in session.messages}
        found = {attempt.number for attempt in attempts if attempt.number in heard or attempt.payload.encode() in got}
        stay = [attempt for attempt in attempts if attempt.number in found and attempt.mode.retain]
        problems = {attempt.number: self._clients.take_back(attempt) for attempt in stay}
        return found, {number: problem for number, problem in problems.items() if problem}

    def sys_topics(self) -> None:
        """Check that $SYS is closed: the watchers were subscribed to it all the time, and its topics are retained."""
        name = "$SYS is closed"
        for session in self._watchers.values():
            session.run(lambda: False, time.monotonic() + 1)
            session.unsubscribe([SYS])  # the answer tells a silent broker from a dead connection
        seen = {
            message.topic: way
            for way, session in self._watchers.items()
            for message in session.messages
            if message.topic.startswith("$SYS") and not plan.may_read(self._public_topics, message.topic)
        }
        if seen:
            topic, way = next(iter(seen.items()))
            self.checks.append(
                Check(name, FAILED, f"{len(seen)} topics can be read, among them {topic!r} through {way}")
            )
        else:
            self.checks.append(Check(name, PASSED))

    def retained(self) -> None:
        """Count the retained messages, which the broker sends for each subscription that matches them."""
        session = next(iter(self._watchers.values()))
        session.messages.clear()
        session.subscribe(["#"], 1)
        deadline, before, sizes = self._clients.deadline(self._clients.timeout), None, []
        while sizes != before and time.monotonic() < deadline:
            session.run(lambda: False, min(deadline, time.monotonic() + 1))
            before, sizes = sizes, [len(message.payload) for message in session.messages if message.retain]
        self.checks.append(Check("retained messages", PASSED, f"{len(sizes)}, with {sum(sizes)} bytes"))

    def _may_be_public(self, feed: str) -> bool:
        return any(topic_filters.overlap(public, f"{feed}/#") for public in self._public_topics)

    def feed(self, topic: str | None, timeout: float, max_age: float) -> None:
        """Wait for a Gerrit event that is not older than max_age (seconds)."""
        name = f"events arrive below {topic!r}" if topic else "events arrive"
        if not topic or not self._feed:
            why = f"anonymous clients cannot read {topic + '/#'!r}" if topic else "there is no feed to wait for"
            self.checks.append(Check(name, NOT_CHECKED, why))
            return
        session, problem = self._feed, f"none came within {timeout:g} seconds"
        deadline = self._clients.deadline(timeout)
        while session.run(lambda: bool(session.messages), deadline):
            message = session.messages.popleft()
            if message.retain or self._mark in message.topic:
                continue
            found = plan.feed_problem(message.payload, time.time(), max_age)
            if found is None:
                self.checks.append(Check(name, PASSED, f"for example on {message.topic!r}"))
                return
            problem = f"the last one that came, on {message.topic!r}, is not fresh: {found}"
        self.checks.append(Check(name, FAILED, problem))

    def publishers(self, publishers: t.Sequence[plan.Publisher]) -> None:
        """Check that a message of each publisher with a known password arrives at every listener."""
        patience = self._clients.timeout + plan.ROUND
        deadline = self._clients.deadline(patience)
        for number, publisher in enumerate(publishers):
            topic = plan.own_topic(publisher, self._mark)
            if topic is None:
                continue  # it has no topic to publish on
            name = f"publisher {publisher.name!r} delivers"
            if self._blind or not publisher.publishes:
                why = "its password is not known" if not self._blind else UNKNOWN
                self.checks.append(Check(name, NOT_CHECKED, why))
                continue
            public = plan.may_read(self._public_topics, topic)
            missing, why = self._missing(number, topic if public else None, deadline)
            if missing:
                why = why or f"it did not come through {', '.join(missing)} within {patience:g} seconds"
                self.checks.append(Check(name, FAILED, why))
            else:
                secret = "" if public else ", which anonymous clients cannot read"
                self.checks.append(Check(name, PASSED, f"on {topic!r}{secret}"))

    def _missing(self, number: int, topic: str | None, deadline: float) -> tuple[list[str], str]:
        """The listeners at which a publisher's message does not arrive, and why it was not published, if that is known.

        Without a topic that anonymous clients can read, it has to arrive at the beacon.
        """
        missing, why = [], ""
        for way, session in self._watchers.items():

            def last(session: Session = session) -> plan.Beacon | None:
                beacons = self._beacons(session)
                return beacons[max(beacons)] if beacons else None

            def arrived(session: Session = session) -> bool:
                if topic is None:
                    beacon = last(session)
                    return beacon is not None and number in beacon.publishers
                return any(
                    one.topic == topic and plan.said(one.payload, self._mark).get("publisher") == number
                    for one in session.messages
                )

            def failed(session: Session = session) -> str:
                beacon = last(session)
                return beacon.failed.get(str(number), "") if beacon else ""

            session.run(lambda: arrived() or bool(failed()), deadline)
            if not arrived():
                missing.append(str(way))
                why = failed()
        return missing, why
