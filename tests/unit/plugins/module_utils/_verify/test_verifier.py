# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A verification of a simulated firehose that keeps or breaks each promise on demand."""

from __future__ import annotations

import collections
import json
import socket
import time
import types
import typing as t

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan, sessions, verifier
from ansible_collections.opendev.firehose.plugins.module_utils._verify.plan import FAILED, NOT_CHECKED, PASSED, WARNING
from ansible_collections.opendev.firehose.plugins.module_utils._verify.verifier import ANONYMOUS, SAME, WORTHLESS

MARK = "1f"
ZUUL = plan.Publisher("zuul", ("zuul/#",), publishes=True)
CLOSED = "$SYS is closed"
LISTENERS = ({"port": 1883, "protocol": "mqtt"}, {"port": 80, "protocol": "websockets"})


class Broker:
    """Has accounts, access rules and limits, and fails as a test wants."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.logins = 0
        self.retained: dict[str, str] = {}
        self.passwords: dict[str, str] | None = {"zuul": "secret", "wiki": "unknown"}
        self.writable = {"beacon": ["firehose/verify/#", "gerrit/#"], "zuul": ["zuul/#"]}
        self.readable = {None: ["#"], "beacon": ["#"]}
        self.beacon = 0
        self.heard: dict[str, set[int]] = {"attempt": set(), "publisher": set()}
        self.failed: dict[int, str] = {}
        self.beacon_topic = "firehose/verify/1f/beacon"
        self.is_dark = False
        self.max_qos, self.retain_available = 2, True
        self.deaf_ports: set[int] = set()
        self.certificates: dict[int, dict[str, t.Any]] = {}
        self.codes: dict[str | None, int] = {}
        self.on_login: t.Callable[[Session], str | None] = lambda _session: None
        self.on_publish: t.Callable[[Session], str | None] = lambda _session: None

    def may(self, rights: dict[str | None, list[str]], name: str | None, topic: str) -> bool:
        return any(topic_filters.matches(topic_filter, topic) for topic_filter in rights.get(name, []))

    def publish(self, session: Session, topic: str, payload: str, retain: bool) -> int:
        if not self.may(self.writable, session.name, topic):
            return self.codes.get(session.name, 0x87)
        if retain:
            self.retained[topic] = payload
        said = plan.said(payload.encode(), MARK)
        if self.may(self.readable, "beacon", topic):
            for kind, numbers in self.heard.items():
                numbers.update({said[kind]} if kind in said else ())
        for other in self.sessions:
            other.take(topic, payload, False)
        return 0

    def shine(self) -> None:
        """The regular messages from the firehose's host: the beacon, and the first publisher's message."""
        self.beacon += 1
        heard = {"attempts": [*self.heard["attempt"]], "publishers": [*self.heard["publisher"]], "failed": self.failed}
        if not self.is_dark:
            self.publish(
                types.SimpleNamespace(name="beacon"),
                self.beacon_topic,
                plan.payload(MARK, beacon=self.beacon, **heard),
                False,
            )
            if not self.failed:
                zuul = types.SimpleNamespace(name="zuul")
                self.publish(zuul, "zuul/firehose-verify-1f", plan.payload(MARK, publisher=0), False)


class Session:
    """The methods of a session, without a broker."""

    broker: Broker

    def __init__(self, options: dict[str, t.Any], *, will: tuple[str, str, int, bool] | None = None) -> None:
        self.options, self.will = options, will
        self.name = options["username"]
        self.filters: list[str] = []
        self.messages: collections.deque[Message] = collections.deque()
        self.max_qos, self.retain_available = self.broker.max_qos, self.broker.retain_available

    def __enter__(self) -> Session:
        broker = self.broker
        broker.logins += 1
        cause = broker.on_login(self)
        if cause is None and self.name is not None and broker.passwords is not None:
            cause = None if broker.passwords.get(self.name) == self.options["password"] else "login"
        if cause is None and self.will and self._is_impossible(self.will[2], self.will[3]):
            cause = "not_mqtt"
        if cause:
            raise Failure(cause, f"no login: {cause}")
        broker.sessions.append(self)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.broker.sessions.remove(self)

    def _is_impossible(self, qos: int, retain: bool) -> bool:
        return qos > self.max_qos or (retain and not self.retain_available)

    def take(self, topic: str, payload: str, retain: bool) -> None:
        subscribed = any(topic_filters.matches(topic_filter, topic) for topic_filter in self.filters)
        deaf = self.options["port"] in self.broker.deaf_ports
        if subscribed and not deaf and self.broker.may(self.broker.readable, self.name, topic):
            self.messages.append(Message(topic, payload.encode(), 0, retain))

    def subscribe(self, filters: list[str], _qos: int) -> None:
        self.filters += filters
        for topic, payload in self.broker.retained.items():
            if payload and any(topic_filters.matches(topic_filter, topic) for topic_filter in filters):
                self.take(topic, payload, True)

    def unsubscribe(self, _filters: list[str]) -> None:
        pass

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> int | None:
        cause = "lost" if self._is_impossible(qos, retain) else self.broker.on_publish(self)
        if cause:
            raise Failure(cause, f"not published: {cause}")
        code = self.broker.publish(self, topic, payload, retain)
        return code if qos and self.options["protocol_version"] == "5" else None

    def certificate(self) -> dict[str, t.Any] | None:
        return self.broker.certificates.get(self.options["port"])

    def vanish(self) -> None:
        assert self.will
        self.broker.publish(self, self.will[0], self.will[1], self.will[3])

    def run(self, done: t.Callable[[], bool], _deadline: float) -> bool:
        for _turn in range(5):
            if done():
                return True
            self.broker.shine()
        return done()


@pytest.fixture
def broker(monkeypatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(sessions, "Session", type("Session", (Session,), {"broker": made}))
    return made


def verify(
    publishers: t.Sequence[plan.Publisher] = (ZUUL, plan.Publisher("wiki")),
    anonymous_topics: t.Sequence[str] = (),
    public_topics: t.Sequence[str] = ("#",),
    problem: str | None = None,
    publish: bool = True,
    feed: str | None = None,
    time_limit: float = 60,
    listeners: t.Sequence[dict[str, t.Any]] = LISTENERS,
) -> dict[str, tuple[str, str]]:
    """Result and cause of each check."""
    clients = sessions.Clients("host", 1, time_limit, "/ca.pem")
    with verifier.Verification(clients, plan.ways(listeners), public_topics, MARK, problem, 14) as verification:
        checks = verification.run(
            publishers,
            anonymous_topics,
            publish=publish,
            check_publishers=True,
            feed=feed,
            feed_timeout=0.01,
            feed_max_age=60,
        )
    assert len({check.check for check in checks}) == len(checks)
    return {check.check: (check.result, check.cause) for check in checks}


def failures(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {check: cause for check, (result, cause) in found.items() if result == FAILED}


def is_attempt(session: Session) -> bool:
    """Whether it is an unauthorized attempt."""
    return session.broker.logins > 4


def test_a_correct_firehose_passes(broker):
    found = verify()
    assert failures(found) == {}
    assert {name for name, (result, _cause) in found.items() if result == PASSED} >= {
        SAME,
        ANONYMOUS,
        WORTHLESS,
        CLOSED,
    }
    assert found["publisher 'zuul' delivers"] == (PASSED, "on 'zuul/firehose-verify-1f'")
    assert found[SAME][1] == "port 1883 (mqtt, MQTT 5), port 80 (websockets, MQTT 5)"
    assert "publisher 'wiki' delivers" not in found  # it is not allowed to
    assert broker.sessions == []


@pytest.mark.parametrize(
    "limits", [{"max_qos": 0}, {"retain_available": False}, {"max_qos": 0, "retain_available": False}]
)
def test_a_listener_with_lower_limits_passes(broker, limits):
    vars(broker).update(limits)
    assert failures(verify()) == {}


@pytest.mark.parametrize("limits", [{}, {"max_qos": 0}, {"retain_available": False}])
def test_anonymous_write_access_is_detected_and_cleaned_up(broker, limits):
    vars(broker).update(limits)
    broker.writable[None] = ["#"]
    found = failures(verify())
    assert set(found) == {ANONYMOUS}
    assert "attempts reached subscribers" in found[ANONYMOUS]
    assert "taken back" not in found[ANONYMOUS]
    assert set(broker.retained.values()) <= {""}


def test_retained_messages_of_attempts_are_detected(broker, monkeypatch):
    take = Session.take

    def retained_only(session: Session, topic: str, payload: str, retain: bool) -> None:
        if retain or "attempt" not in plan.said(payload.encode(), MARK):
            take(session, topic, payload, retain)

    monkeypatch.setattr(Session, "take", retained_only)
    broker.readable["beacon"] = []
    broker.writable[None] = ["#"]
    found = failures(verify())
    assert set(found) == {ANONYMOUS}
    assert "1 of 25 attempts reached subscribers" in found[ANONYMOUS]
    assert set(broker.retained.values()) <= {""}


def test_a_rule_for_one_topic_is_detected_with_given_filters(broker):
    broker.writable[None] = ["chat/+"]
    assert failures(verify()) == {}
    assert "1 of 26 attempts reached subscribers" in failures(verify(anonymous_topics=["chat/+"]))[ANONYMOUS]


def test_retained_messages_that_cannot_be_removed_are_reported(broker):
    broker.writable[None] = ["#"]
    broker.on_publish = lambda session: "lost" if broker.retained and session.options["username"] is None else None
    found = failures(verify())
    assert "attempts reached subscribers" in found[ANONYMOUS]
    assert "; could not be removed: " in found[ANONYMOUS]
    assert "not published: lost" in found[ANONYMOUS]


def test_a_username_that_needs_no_password_is_detected(broker):
    broker.passwords = None
    assert "attempts reached subscribers" in failures(verify())[WORTHLESS]
    broker.heard["attempt"].clear()
    assert "attempts were accepted" in failures(verify([plan.Publisher("wiki")]))[WORTHLESS]


def test_retained_messages_are_counted(broker):
    broker.retained = {"gerrit/germqtt/status": "online", "gerrit/kept": "xx", "gerrit/gone": ""}
    assert verify()["retained messages"] == (PASSED, "2, with 8 bytes")


@pytest.mark.parametrize("cause", ["refused", "lost", "not_mqtt", "no_answer", "unreachable", "tls"])
def test_an_attempt_that_failed_is_no_proof(broker, cause):
    broker.on_login = lambda session: cause if is_attempt(session) else None
    found = failures(verify())
    assert set(found) == {ANONYMOUS, WORTHLESS}
    assert all("attempts could not be made" in words and cause in words for words in found.values())


def test_a_message_rejected_for_another_reason_is_no_proof(broker):
    broker.codes[None] = 0x97
    assert "the broker rejected it: quota exceeded" in failures(verify())[ANONYMOUS]


def test_unanswered_attempts_are_not_repeated(broker):
    broker.on_login = lambda session: "no_answer" if is_attempt(session) else None
    verify([plan.Publisher(f"name{number}") for number in range(100)])
    assert broker.logins < 50


def test_the_time_limit_of_a_verification(broker, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + broker.logins)
    found = failures(verify(time_limit=20))
    assert "the 20 seconds that all of it may take are over" in found[SAME]
    assert broker.logins == 20


def test_private_topics_are_checked_on_the_host(broker):
    broker.readable[None] = ["gerrit/#"]
    broker.beacon_topic = "gerrit/firehose-verify-1f-beacon"
    found = verify(public_topics=["gerrit/#"])
    assert failures(found) == {}
    assert (found[SAME][0], found[ANONYMOUS][0], found[WORTHLESS][0]) == (PASSED, PASSED, PASSED)
    assert found["publisher 'zuul' delivers"] == (
        PASSED,
        "on 'zuul/firehose-verify-1f', which anonymous clients cannot read",
    )
    broker.writable[None] = ["zuul/#"]
    assert set(failures(verify(public_topics=["gerrit/#"]))) == {ANONYMOUS}


def test_checks_are_skipped_without_an_unused_public_topic(broker):
    broker.readable[None] = ["status"]
    found = verify(public_topics=["status"])
    assert failures(found) == {}
    assert found[SAME] == (NOT_CHECKED, "anonymous clients may read no unused topic")
    assert found[ANONYMOUS][0] == found[WORTHLESS][0] == found["publisher 'zuul' delivers"][0] == NOT_CHECKED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deaf_ports": {80}}, "it did not come through port 80 (websockets, MQTT 5) within"),
        ({"readable": {"beacon": ["#"]}}, "it did not come through port 1883 (mqtt, MQTT 5), port 80"),
        ({"is_dark": True}, "it did not come through port 1883 (mqtt, MQTT 5), port 80"),
    ],
)
def test_checks_are_skipped_without_a_fence(broker, change, words):
    vars(broker).update(change)
    found = verify()
    assert words in failures(found)[SAME]
    assert (found[ANONYMOUS][0], found[WORTHLESS][0]) == (NOT_CHECKED, NOT_CHECKED)


def test_checks_are_skipped_without_a_beacon(broker):
    broker.is_dark = True
    found = verify(problem="it could not log in")
    assert failures(found) == {SAME: "it could not log in"}
    assert found[ANONYMOUS][0] == found[WORTHLESS][0] == found["publisher 'zuul' delivers"][0] == NOT_CHECKED


def test_the_fence_waits_for_a_beacon_after_all_attempts(broker):
    """Messages that the host receives only after the last attempt are in a later beacon, for which the fence waits."""
    broker.readable[None] = ["firehose/#"]
    broker.writable[None] = ["zuul/#"]
    seen = []
    fence = verifier.Verification.fence

    def watched(verification: verifier.Verification) -> t.Any:
        before = broker.beacon
        found = fence(verification)
        seen.append((before, found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier.Verification, "fence", watched)
        found = failures(verify(public_topics=["firehose/#"]))
    [(before, beacon)] = seen
    assert beacon.number >= before + 2
    assert "attempts reached subscribers" in found[ANONYMOUS]


def test_listeners_that_deliver_different_messages(broker):
    take = Session.take

    def changed(session: Session, topic: str, payload: str, retain: bool) -> None:
        other = payload.replace(" ", "") if session.options["port"] == 80 else payload
        take(session, topic, other, retain)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "take", changed)
        found = verify()
    assert "is not the same everywhere" in failures(found)[SAME]
    assert found[ANONYMOUS][0] == NOT_CHECKED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"failed": {0: "not authorized"}}, "not authorized"),
        (
            {"writable": {"beacon": ["#"]}},
            "it did not come through port 1883 (mqtt, MQTT 5), port 80 (websockets, MQTT 5) within 6 seconds",
        ),
    ],
)
def test_the_reason_why_a_publisher_does_not_deliver(broker, change, why):
    vars(broker).update(change)
    assert failures(verify()) == {"publisher 'zuul' delivers": why}


def test_a_publisher_with_an_unknown_password_is_not_checked(broker):
    found = verify([plan.Publisher("zuul", ("zuul/#",))])
    assert found["publisher 'zuul' delivers"] == (NOT_CHECKED, "its password is not known")


def test_readable_sys_topics_are_detected(broker):
    broker.readable[None] = ["#", "$SYS/#"]
    broker.retained["$SYS/broker/version"] = "2"
    assert "among them '$SYS/broker/version'" in failures(verify())[CLOSED]


def test_a_selected_sys_topic_is_accepted(broker):
    broker.readable[None] = ["#", "$SYS/#"]
    broker.retained["$SYS/broker/version"] = "2"
    assert CLOSED not in failures(verify(public_topics=["#", "$SYS/broker/version"]))


@pytest.mark.parametrize(
    ("cause", "result"), [("login", PASSED), ("tls", FAILED), ("unreachable", NOT_CHECKED), (None, FAILED)]
)
def test_account_listeners_reject_anonymous_clients(broker, cause, result):
    broker.on_login = lambda _session: cause
    clients = sessions.Clients("host", 1, 60, None)
    with verifier.Verification(clients, [], ["#"], MARK, None) as verification:
        [check] = verification.closed([plan.Way(1884, "mqtt")])
    assert (check.check, check.result) == ("port 1884 (mqtt, MQTT 5) rejects clients without an account", result)


def test_nothing_is_published_if_publishing_is_disabled(broker):
    broker.on_publish = pytest.fail
    found = verify(publish=False)
    assert failures(found) == {}
    assert found["publishing needs a password"][0] == NOT_CHECKED


@pytest.mark.parametrize(
    ("feed", "public", "created", "result", "words"),
    [
        (None, "#", 0, NOT_CHECKED, "there is no feed"),
        ("gerrit", "zuul/#", 0, NOT_CHECKED, "anonymous clients cannot read 'gerrit/#'"),
        ("gerrit", "#", 0, PASSED, "for example on 'gerrit/x'"),
        ("gerrit", "gerrit/+", 0, PASSED, "for example on 'gerrit/x'"),
        ("gerrit", "#", -1000, FAILED, "seconds old"),
        ("gerrit", "#", None, FAILED, "none came"),
    ],
)
def test_the_feed(broker, feed, public, created, result, words):
    broker.readable[None] = [public]
    broker.writable["gerrit"] = ["gerrit/#"]

    def event(session: Session) -> None:
        if created is not None:
            payload = json.dumps({"type": "x", "eventCreatedOn": time.time() + created})
            broker.publish(types.SimpleNamespace(name="gerrit"), "gerrit/x", payload, False)

    broker.on_publish = event
    broker.beacon_topic = plan.place([public], MARK, "beacon")
    broker.writable["beacon"] = ["#"]
    found = verify(feed=feed, public_topics=[public])
    assert [words in cause for name, (got, cause) in found.items() if "events arrive" in name and got == result] == [
        True
    ]


@pytest.mark.parametrize(
    ("listener", "why"),
    [
        ({}, None),
        ({"address": "192.0.2.1"}, None),
        ({"address": "192.0.2.7"}, "it is bound to 192.0.2.7, which is no address of firehose"),
        ({"address": "unknown"}, None),
        ({"address": "192.0.2.1", "not_checked": "it wants TLS"}, "it wants TLS"),
    ],
)
def test_listeners_that_are_not_checked(monkeypatch, listener, why):
    def addresses(host: str, _port: None) -> list[tuple[t.Any, ...]]:
        if host == "unknown":
            raise socket.gaierror
        return [(2, 1, 6, "", ({"firehose": "192.0.2.1"}.get(host, host), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    listener = {"port": 1883, "protocol": "mqtt", "address": None, "not_checked": None} | listener
    assert sessions.why_not_checked("firehose", listener) == why


TLS = [*LISTENERS, {"port": 8883, "protocol": "mqtt", "tls": True}]
LASTS = "port 8883 (mqtt, TLS) has a valid certificate"


@pytest.mark.parametrize(("days", "result"), [(14, PASSED), (13, WARNING)])
def test_the_remaining_days_of_a_certificate(broker, days, result):
    broker.certificates[8883] = {"days_left": days, "not_after": "2027-03-01T12:00:00Z"}
    seen = set()
    broker.on_login = lambda session: seen.add((session.options["tls"], session.options["ca_path"]))
    found = verify(listeners=TLS)
    assert failures(found) == {}
    assert found[LASTS] == (result, f"{days} days left, until 2027-03-01T12:00:00Z")
    assert "port 8883 (mqtt, TLS, MQTT 5)" in found[SAME][1]
    assert seen == {(False, None), (True, "/ca.pem")}
    assert not [name for name in found if "1883" in name and "certificate" in name]


@pytest.mark.parametrize(("cause", "result"), [("tls", FAILED), ("unreachable", NOT_CHECKED)])
def test_an_invalid_certificate(broker, cause, result):
    broker.on_login = lambda session: cause if session.options["port"] == 8883 else None
    found = verify(listeners=TLS)
    assert set(failures(found)) - {LASTS} == {
        f"port 8883 (mqtt, TLS, MQTT {version}) accepts anonymous clients" for version in plan.VERSIONS
    }
    assert found[LASTS][0] == result
    assert (cause in found[LASTS][1]) == (result == FAILED)
    assert found[SAME][0] == PASSED


def test_a_tls_listener_that_does_not_deliver_is_detected(broker):
    broker.certificates[8883] = {"days_left": 30, "not_after": "2027-03-01T12:00:00Z"}
    broker.deaf_ports = {8883}
    found = verify(listeners=TLS)
    assert set(failures(found)) == {SAME, "publisher 'zuul' delivers"}
    assert "it did not come through port 8883 (mqtt, TLS, MQTT 5) within" in found[SAME][1]
    assert (found[LASTS][0], found[ANONYMOUS][0]) == (PASSED, NOT_CHECKED)


def test_an_unreachable_firehose_fails(broker):
    broker.on_login = lambda _session: "unreachable"
    found = failures(verify())
    assert "there is a listener for anonymous clients" in found
    assert len(found) == 5
