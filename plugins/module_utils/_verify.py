# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What is tried on a firehose to see that it keeps its promises, as data. Nothing here talks to a broker."""

from __future__ import annotations

import dataclasses
import json
import typing as t

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"
VERSIONS = ("3.1.1", "5")
# Beside no password at all: what somebody might try who knows a publisher's name
GUESSES = {"no password": None, "an empty password": "", "a wrong password": "not the password"}


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
    """A listener as the public reaches it, and a version of the protocol."""

    port: int
    protocol: str
    version: str = "5"

    def __str__(self) -> str:
        return f"port {self.port} ({self.protocol}, MQTT {self.version})"


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
    """An account and what it may write. The password is None where it is not known."""

    name: str
    topics: tuple[str, ...] = ()
    password: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def from_option(cls, option: t.Mapping[str, t.Any]) -> Publisher:
        """As a module's option has it."""
        return cls(option["name"], tuple(option.get("topics") or ()), option.get("password"))


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A message that may not reach anybody, or that has to."""

    number: int
    way: Way
    mode: Mode
    topic: str
    mark: str
    who: str = "a client without a name"
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def payload(self) -> str:
        """JSON, as consumers expect it, that says what it is."""
        return json.dumps({"type": "firehose-verify", "run": self.mark, "attempt": self.number})

    def __str__(self) -> str:
        return f"{self.who} on {self.topic!r} through {self.way} with {self.mode}"


def concrete(topic_filter: str, mark: str) -> str:
    """A topic that a filter matches; one that nobody else uses, if the filter has a wildcard."""
    return "/".join(f"firehose-verify-{mark}" if level in ("+", "#") else level for level in topic_filter.split("/"))


def own_topic(publisher: Publisher, mark: str) -> str | None:
    """A topic that a publisher may write: of its filters the first with a wildcard, so that no real topic is used, else the first."""
    with_wildcard = [topic for topic in publisher.topics if {"+", "#"} & set(topic)]
    return next((concrete(topic, mark) for topic in (*with_wildcard, *publisher.topics)), None)


def ways(listeners: t.Iterable[t.Mapping[str, t.Any]], versions: t.Iterable[str] = VERSIONS) -> list[Way]:
    """All listeners with all versions."""
    return [Way(listener["port"], listener["protocol"], version) for listener in listeners for version in versions]


def anonymous_attempts(
    all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], topic: str, mark: str
) -> list[Attempt]:
    """What a client without a name tries: every way on one topic, and every publisher's topic in one way."""
    found = [Attempt(0, way, mode, topic, mark) for way in all_ways for mode in MODES]
    own = [own_topic(publisher, mark) for publisher in publishers]
    found += [Attempt(0, way, Mode(1), other, mark) for way in all_ways[-1:] for other in own if other]
    return found


def claiming_attempts(all_ways: t.Sequence[Way], publishers: t.Sequence[Publisher], mark: str) -> list[Attempt]:
    """What clients try that claim a publisher's name and guess its password: every way for one name, one way for all."""
    topics = [(publisher.name, own_topic(publisher, mark)) for publisher in publishers]
    claims = [(name, topic) for name, topic in topics if topic]
    return [
        Attempt(0, way, mode, topic, mark, f"a client that claims {name!r} with {guess}", name, password)
        for index, (name, topic) in enumerate(claims)
        for way in (all_ways if index == 0 else all_ways[:1])
        for mode in (Mode(1), Mode(0, will=True))
        for guess, password in GUESSES.items()
    ]


def numbered(attempts: t.Iterable[Attempt], start: int) -> list[Attempt]:
    """The same, each with a number of its own."""
    return [dataclasses.replace(attempt, number=number) for number, attempt in enumerate(attempts, start)]


def outcome(
    check: str, attempts: t.Sequence[Attempt], reached: t.Container[int], untried: t.Mapping[int, str]
) -> Check:
    """What the attempts came to that nobody may have got anything from."""
    through = [str(attempt) for attempt in attempts if attempt.number in reached]
    if through:
        return Check(
            check, FAILED, f"{len(through)} of {len(attempts)} attempts reached subscribers, the first by {through[0]}"
        )
    if untried:
        number, why = next(iter(untried.items()))
        first = next(attempt for attempt in attempts if attempt.number == number)
        return Check(
            check, FAILED, f"{len(untried)} of {len(attempts)} attempts could not be made, the first by {first}: {why}"
        )
    if not attempts:
        return Check(check, NOT_CHECKED, "there was nothing to try")
    return Check(check, PASSED, f"{len(attempts)} attempts")


def feed_problem(payload: bytes, now: float, max_age: float) -> str | None:
    """Say why an event of Gerrit is not a fresh one, or None."""
    try:
        event = json.loads(payload)
    except ValueError:
        return "it is not JSON"
    if not isinstance(event, dict) or "type" not in event or event["type"] == "firehose-verify":
        return "it is no event"
    created = event.get("eventCreatedOn")
    if not isinstance(created, (int, float)):
        return None  # some types of events have no time; that it arrives says that it is fresh
    age = now - created
    return f"it is {age:.0f} seconds old" if age > max_age else None
