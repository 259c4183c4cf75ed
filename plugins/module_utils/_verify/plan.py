# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is tried on a firehose to see that it keeps its promises, as data. Nothing here talks to a broker."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters

PASSED, WARNING, FAILED, NOT_CHECKED = "passed", "warning", "failed", "not checked"
VERSIONS = ("3.1.1", "5")
# Beside no password at all: what somebody might try who knows a publisher's name
GUESSES = {"no password": None, "an empty password": "", "a wrong password": "not the password"}
TYPE = "firehose-verify"
WILDCARDS = {"+", "#"}
# How many seconds pass until a publisher publishes again: who watches may have come late.
ROUND = 5.0
BEACON, ANONYMOUS, CLAIM = "beacon", "anonymous", "claim"


@dataclasses.dataclass(frozen=True)
class Check:
    """A line of the table."""

    check: str
    result: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.result:12} {self.check}{': ' if self.cause else ''}{self.cause}"


@dataclasses.dataclass(frozen=True)
class Way:
    """A listener as the public reaches it, a version of the protocol, and what the listener takes at all."""

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
    """How a message is published: in a PUBLISH packet, or as the will of a client that vanishes."""

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
    """An account and what it may write. Whether it publishes depends on whether its password is known."""

    name: str
    topics: tuple[str, ...] = ()
    publishes: bool = False

    @classmethod
    def from_option(cls, option: t.Mapping[str, t.Any]) -> Publisher:
        """As a module's option has it."""
        return cls(option["name"], tuple(option["topics"]), option["publishes"])


@dataclasses.dataclass(frozen=True)
class Beacon:
    """A message from the firehose's host, and what had come to an account there: the numbers of attempts, and of publishers' messages."""

    number: int
    payload: bytes
    attempts: frozenset[int]
    publishers: frozenset[int]
    failed: dict[str, str]

    @classmethod
    def read(cls, payload: bytes, mark: str) -> Beacon | None:
        """As it came, None if it is something else. Nobody else can write its topic who has not been found out already."""
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
    """A message that may not reach anybody, or that has to."""

    number: int
    way: Way
    mode: Mode
    topic: str
    mark: str
    who: str = "an anonymous client"
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def is_impossible(self) -> bool:
        """Whether the listener takes no such message from anyone."""
        return self.mode.qos > self.way.max_qos or (self.mode.retain and not self.way.retain)

    @property
    def payload(self) -> str:
        """JSON, as consumers expect it, that says what it is."""
        return payload(self.mark, attempt=self.number)

    def __str__(self) -> str:
        return f"{self.who} on {self.topic!r} through {self.way} with {self.mode}"


@dataclasses.dataclass
class Made:
    """Attempts that should come to nothing, and what became of them, by their numbers."""

    attempts: list[Attempt]
    untried: dict[int, str] = dataclasses.field(default_factory=dict)
    let_in: set[int] = dataclasses.field(default_factory=set)


def payload(mark: str, **content: t.Any) -> str:
    """What is published, so that everybody sees what it is."""
    return json.dumps({"type": TYPE, "run": mark, **content})


def said(published: bytes, mark: str) -> dict[str, t.Any]:
    """What a message of a run says, nothing if it is none."""
    try:
        found = json.loads(published)
    except ValueError:
        return {}
    is_ours = isinstance(found, dict) and found.get("type") == TYPE and found.get("run") == mark
    return found if is_ours else {}


def may_read(public_topics: t.Iterable[str], topic: str) -> bool:
    """Whether the public may read a topic."""
    return any(topic_filters.matches(public, topic) for public in public_topics)


def concrete(topic_filter: str, mark: str) -> str:
    """A topic that a filter matches; one that nobody else uses, if the filter has a wildcard."""
    return "/".join(f"firehose-verify-{mark}" if level in WILDCARDS else level for level in topic_filter.split("/"))


def own_topic(publisher: Publisher, mark: str) -> str | None:
    """A topic that a publisher may write: of its filters the first with a wildcard, so that no real topic is used, else the first."""
    # Below $ is the broker's own, where no filter of a subscriber's would find it.
    topics = [topic for topic in publisher.topics if not topic.startswith("$")]
    with_wildcard = [topic for topic in topics if WILDCARDS & set(topic)]
    return next((concrete(topic, mark) for topic in (*with_wildcard, *topics)), None)


def place(public_topics: t.Iterable[str], mark: str, what: str) -> str:
    """A topic for something of a run: one that the public may read, if there is one that nobody else uses."""
    usual = f"firehose/verify/{mark}/{what}"
    free = [topic for topic in public_topics if WILDCARDS & set(topic)]
    if may_read(free, usual):
        return usual
    return own_topic(Publisher("", tuple(free)), f"{mark}-{what}") or usual


def watched(
    publishers: t.Iterable[Publisher], anonymous_topics: t.Iterable[str], public_topics: t.Sequence[str], mark: str
) -> list[str]:
    """All topics on which something of a run may be published."""
    writers = [*publishers, *(Publisher("", (topic_filter,)) for topic_filter in anonymous_topics)]
    own = [topic for writer in writers for topic in [own_topic(writer, mark)] if topic]
    return [*dict.fromkeys([*own, *(place(public_topics, mark, what) for what in (BEACON, ANONYMOUS, CLAIM))])]


def filters(topics: t.Iterable[str], mark: str) -> list[str]:
    """Topic filters for topics of a run. A firehose limits the filters and topic levels of a client: one filter stands for all topics of a form."""

    def pattern(topic: str) -> str:
        if mark not in topic or topic.startswith("$"):
            return topic
        return "/".join(level if mark in level else "+" for level in topic.split("/"))

    return [*dict.fromkeys(map(pattern, topics))]


def single(way: Way) -> Mode:
    """The mode where one has to do: acknowledged, if the listener can."""
    return Mode(min(1, way.max_qos))


def ways(listeners: t.Iterable[t.Mapping[str, t.Any]]) -> list[Way]:
    """All listeners with all versions."""
    return [
        Way(listener["port"], listener["protocol"], version, tls=listener.get("tls", False))
        for listener in listeners
        for version in VERSIONS
    ]


def anonymous_attempts(
    all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], filters: t.Iterable[str], topic: str, mark: str
) -> list[Attempt]:
    """What an anonymous client tries: every way on one topic; in one way every publisher's topic, and one of each filter."""
    found = [Attempt(0, way, mode, topic, mark) for way in all_ways for mode in MODES]
    own = [own_topic(publisher, mark) for publisher in publishers]
    own += [own_topic(Publisher("", (topic_filter,)), mark) for topic_filter in filters]
    found += [Attempt(0, way, single(way), other, mark) for way in all_ways[-1:] for other in own if other]
    return found


def claiming_attempts(
    all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], topic: str, mark: str
) -> list[Attempt]:
    """What clients try that claim a name and guess its password: every way for one name, one way for all.

    They publish where the name may, or else on the topic.
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
    """The same, each with a number of its own."""
    return [dataclasses.replace(attempt, number=number) for number, attempt in enumerate(attempts, start)]


def unchecked(listener: t.Mapping[str, t.Any], why: str) -> Check:
    """The line of a listener that is not tried."""
    return Check(f"port {listener['port']} ({listener['protocol']}) accepts anonymous clients", NOT_CHECKED, why)


def certificate_check(way: Way, certificate: t.Mapping[str, t.Any] | None, problem: str | None, days: int) -> Check:
    """The line of a certificate: what is known of a valid one, or why it is not valid. Neither is known if nobody answered."""
    name = f"port {way.port} ({way.protocol}, TLS) has a certificate that lasts"
    if problem:
        return Check(name, FAILED, problem)
    if certificate is None:
        return Check(name, NOT_CHECKED, "none was shown")
    left = certificate["days_left"]
    return Check(name, WARNING if left < days else PASSED, certificate_files.lasts(certificate))


def is_turned_away(attempt: Attempt, cause: str) -> bool:
    """Whether a failure of an attempt says that nobody gets in that way.

    A broker that is busy, or a connection that is lost, says nothing of what it would do another time. With MQTT 3.1.1 it can only
    hang up on a message that it takes from no one, which Mosquitto 2.1.2 does over websockets with TLS in a way that is no TLS.
    """
    return cause == "login" or (attempt.is_impossible and cause in ("refused", "lost", "not_mqtt", "tls"))


def outcome(check: str, made: Made, reached: t.Container[int], left: t.Mapping[int, str]) -> Check:
    """What the attempts came to that nobody may have got anything from. Left is what could not be taken back, and why."""
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
            stays = [
                f"; could not be taken back: {words[number]}: {left[number]}" for number in numbers if number in left
            ]
            return Check(check, FAILED, cause + "".join(stays[:1]))
    return (
        Check(check, PASSED, f"{len(numbers)} attempts")
        if numbers
        else Check(check, NOT_CHECKED, "there was nothing to try")
    )


def feed_problem(published: bytes, now: float, max_age: float) -> str | None:
    """Say why an event of Gerrit is not a fresh one, or None."""
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
