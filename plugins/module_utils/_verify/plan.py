# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attempts and checks of a verification, as data. Nothing here connects to a broker."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters

PASSED, WARNING, FAILED, NOT_CHECKED = "passed", "warning", "failed", "not checked"
VERSIONS = ("3.1.1", "5")
# Passwords that a client might try with a publisher's username
GUESSES = {"no password": None, "an empty password": "", "a wrong password": "not the password"}
TYPE = "firehose-verify"
WILDCARDS = {"+", "#"}
# The level of a pattern of ACL rules that stands for the client id
CLIENT_ID = "%c"
# Seconds between two messages of a publisher: a subscriber may have connected after the first one.
ROUND = 5.0
BEACON, ANONYMOUS, CLAIM = "beacon", "anonymous", "claim"


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the table of results."""

    check: str
    result: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.result:12} {self.check}{': ' if self.cause else ''}{self.cause}"


@dataclasses.dataclass(frozen=True)
class Way:
    """A listener as anonymous clients reach it, an MQTT version, and the QoS and retain that the listener supports."""

    port: int
    protocol: str
    version: str = "5"
    max_qos: int = 2
    retain: bool = True
    tls: bool = False

    def __str__(self) -> str:
        return f"port {self.port} ({self.protocol}{', TLS' if self.tls else ''}, MQTT {self.version})"


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a message is published: in a PUBLISH packet, or as the will of a client that drops its connection."""

    qos: int = 0
    retain: bool = False
    will: bool = False

    def __str__(self) -> str:
        return f"QoS {self.qos}{', retained' if self.retain else ''}{', as a will' if self.will else ''}"


MODES = (
    Mode(0),
    Mode(1),
    Mode(2),
    Mode(1, retain=True),
    Mode(0, will=True),
    Mode(1, retain=True, will=True),
)


@dataclasses.dataclass(frozen=True)
class Publisher:
    """An account and the topics that it can write. It publishes only if its password is known."""

    name: str
    topics: tuple[str, ...] = ()
    publishes: bool = False

    @classmethod
    def from_option(cls, option: t.Mapping[str, t.Any]) -> Publisher:
        """Convert a module's option."""
        return cls(option["name"], tuple(option["topics"]), option["publishes"])


@dataclasses.dataclass(frozen=True)
class Beacon:
    """A message of the reference publisher: the numbers of the attempts and of the publishers' messages that it received until then."""

    number: int
    payload: bytes
    attempts: frozenset[int]
    publishers: frozenset[int]
    failed: dict[str, str]

    @classmethod
    def read(cls, payload: bytes, mark: str) -> Beacon | None:
        """Parse a payload; None if it is no beacon. If other clients could write its topic, another check would have found that."""
        found = said(payload, mark)
        try:
            return cls(
                int(found["beacon"]),
                payload,
                frozenset(found["attempts"]),
                frozenset(found["publishers"]),
                dict(found["failed"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A message that must not reach a subscriber."""

    number: int
    way: Way
    mode: Mode
    topic: str
    mark: str
    who: str = "an anonymous client"
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    client_id: str = ""

    @property
    def is_impossible(self) -> bool:
        """Return whether the listener rejects such a message from every client."""
        return self.mode.qos > self.way.max_qos or (self.mode.retain and not self.way.retain)

    @property
    def payload(self) -> str:
        """JSON, as subscribers expect it, with the number of the attempt."""
        return payload(self.mark, attempt=self.number)

    def __str__(self) -> str:
        return f"{self.who} on {self.topic!r} through {self.way} with {self.mode}"


@dataclasses.dataclass
class Made:
    """Attempts that should fail, and their outcomes by number."""

    attempts: list[Attempt]
    untried: dict[int, str] = dataclasses.field(default_factory=dict)
    let_in: set[int] = dataclasses.field(default_factory=set)


def payload(mark: str, **content: t.Any) -> str:
    """A payload with its type and its run, so that subscribers can identify it."""
    return json.dumps({"type": TYPE, "run": mark, **content})


def said(published: bytes, mark: str) -> dict[str, t.Any]:
    """The content of a message of this run; empty for other messages."""
    try:
        found = json.loads(published)
    except ValueError:
        return {}
    is_ours = isinstance(found, dict) and found.get("type") == TYPE and found.get("run") == mark
    return found if is_ours else {}


def may_read(public_topics: t.Iterable[str], topic: str) -> bool:
    """Return whether anonymous clients can read a topic."""
    return any(topic_filters.matches(public, topic) for public in public_topics)


def own_level(mark: str) -> str:
    """A topic level that no other client uses, and the client id of attempts on topics with it."""
    return f"firehose-verify-{mark}"


def concrete(topic_filter: str, mark: str) -> str:
    """A topic that a filter, or a pattern of ACL rules, matches. If it has a wildcard or the client id, no other client uses this topic."""
    return "/".join(
        own_level(mark) if level in WILDCARDS or level == CLIENT_ID else level for level in topic_filter.split("/")
    )


def own_topic(publisher: Publisher, mark: str) -> str | None:
    """A topic that a publisher can write: from its first filter with a wildcard, to use no real topic, else from its first filter."""
    # Topics that start with $ belong to the broker. No filter of a subscriber would match them.
    topics = [topic for topic in publisher.topics if not topic.startswith("$")]
    with_wildcard = [topic for topic in topics if WILDCARDS & set(topic)]
    return next((concrete(topic, mark) for topic in (*with_wildcard, *topics)), None)


def place(public_topics: t.Iterable[str], mark: str, what: str) -> str:
    """A topic for messages of a run: one that anonymous clients can read, if there is one that no other client uses."""
    usual = f"firehose/verify/{mark}/{what}"
    free = [topic for topic in public_topics if WILDCARDS & set(topic)]
    if may_read(free, usual):
        return usual
    return own_topic(Publisher("", tuple(free)), f"{mark}-{what}") or usual


def watched(
    publishers: t.Iterable[Publisher], anonymous_topics: t.Iterable[str], public_topics: t.Sequence[str], mark: str
) -> list[str]:
    """All topics on which messages of a run may be published."""
    writers = [*publishers, *(Publisher("", (topic_filter,)) for topic_filter in anonymous_topics)]
    own = [topic for writer in writers for topic in [own_topic(writer, mark)] if topic]
    return [*dict.fromkeys([*own, *(place(public_topics, mark, what) for what in (BEACON, ANONYMOUS, CLAIM))])]


def filters(topics: t.Iterable[str], mark: str) -> list[str]:
    """Topic filters for topics of a run. One covers all topics of a form, since a firehose limits a client's filters and topic levels."""

    def pattern(topic: str) -> str:
        if mark not in topic or topic.startswith("$"):
            return topic
        return "/".join(level if mark in level else "+" for level in topic.split("/"))

    return [*dict.fromkeys(map(pattern, topics))]


def single(way: Way) -> Mode:
    """The mode where only one is tried: QoS 1, if the listener supports it."""
    return Mode(min(1, way.max_qos))


def ways(listeners: t.Iterable[t.Mapping[str, t.Any]]) -> list[Way]:
    """All listeners, each with all MQTT versions."""
    return [
        Way(listener["port"], listener["protocol"], version, tls=listener.get("tls", False))
        for listener in listeners
        for version in VERSIONS
    ]


def anonymous_attempts(
    all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], filters: t.Iterable[str], topic: str, mark: str
) -> list[Attempt]:
    """The attempts of an anonymous client: every way on one topic; in one way every publisher's topic, and one topic of each filter."""
    found = [Attempt(0, way, mode, topic, mark) for way in all_ways for mode in MODES]
    own = [own_topic(publisher, mark) for publisher in publishers]
    own += [own_topic(Publisher("", (topic_filter,)), mark) for topic_filter in filters]
    found += [
        Attempt(0, way, single(way), other, mark, client_id=own_level(mark))
        for way in all_ways[-1:]
        for other in own
        if other
    ]
    return found


def claiming_attempts(
    all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], topic: str, mark: str
) -> list[Attempt]:
    """The attempts of clients that use a publisher's name and guess its password: every way for one name, one way for all.

    They publish on a topic of that publisher or, if it has none, on the given topic.
    """
    claims = [(publisher.name, own_topic(publisher, mark) or topic) for publisher in publishers]
    return [
        Attempt(0, way, mode, own, mark, f"a client that claims {name!r} with {guess}", name, password)
        for index, (name, own) in enumerate(claims)
        for way in (all_ways if index == 0 else all_ways[:1])
        for mode in (single(way), Mode(0, will=True))
        for guess, password in GUESSES.items()
    ]


def numbered(attempts: t.Iterable[Attempt], start: int) -> list[Attempt]:
    """The same attempts, numbered from start on."""
    return [dataclasses.replace(attempt, number=number) for number, attempt in enumerate(attempts, start)]


def unchecked(listener: t.Mapping[str, t.Any], why: str) -> Check:
    """The check of a listener that is not tried."""
    return Check(f"port {listener['port']} ({listener['protocol']}) accepts anonymous clients", NOT_CHECKED, why)


def certificate_check(way: Way, certificate: t.Mapping[str, t.Any] | None, problem: str | None, days: int) -> Check:
    """The check of a certificate: how long a valid one lasts, or why it is not valid. Neither is known without an answer."""
    name = f"port {way.port} ({way.protocol}, TLS) has a valid certificate"
    if problem:
        return Check(name, FAILED, problem)
    if certificate is None:
        return Check(name, NOT_CHECKED, "none was shown")
    left = certificate["days_left"]
    return Check(name, WARNING if left < days else PASSED, certificate_files.lasts(certificate))


def is_turned_away(attempt: Attempt, cause: str) -> bool:
    """Return whether the failure of an attempt proves that the broker rejects such clients.

    A busy broker or a lost connection proves nothing about the next attempt. With MQTT 3.1.1 a broker can only close the connection
    for a message that it rejects from every client. Over websockets with TLS, Mosquitto 2.1.2 does that in a way that is not TLS.
    """
    return cause == "login" or (attempt.is_impossible and cause in ("refused", "lost", "not_mqtt", "tls"))


def outcome(check: str, made: Made, reached: t.Container[int], left: t.Mapping[int, str]) -> Check:
    """The check of attempts that must not reach a subscriber. Left says why retained messages could not be removed."""
    numbers = [attempt.number for attempt in made.attempts]
    words = {attempt.number: str(attempt) for attempt in made.attempts}
    through = [words[number] for number in numbers if number in reached]
    let_in = [words[number] for number in numbers if number in made.let_in]
    untried = [f"{words[number]}: {made.untried[number]}" for number in numbers if number in made.untried]
    for found, what in (
        (through, "reached subscribers"),
        (let_in, "were accepted"),
        (untried, "could not be made"),
    ):
        if found:
            cause = f"{len(found)} of {len(numbers)} attempts {what}, the first by {found[0]}"
            stays = [f"; could not be removed: {words[number]}: {left[number]}" for number in numbers if number in left]
            return Check(check, FAILED, cause + "".join(stays[:1]))
    return (
        Check(check, PASSED, f"{len(numbers)} attempts")
        if numbers
        else Check(check, NOT_CHECKED, "there was nothing to try")
    )


def feed_problem(published: bytes, now: float, max_age: float) -> str | None:
    """Say why a payload is not a fresh Gerrit event, or None."""
    try:
        event = json.loads(published)
    except ValueError:
        return "it is not JSON"
    if not isinstance(event, dict) or "type" not in event or event["type"] == TYPE:
        return "it is no event"
    created = event.get("eventCreatedOn")
    if not isinstance(created, (int, float)):
        return None  # some types of events have no time; that it arrives says that it is fresh
    age = now - created
    return f"it is {age:.0f} seconds old" if age > max_age else None
