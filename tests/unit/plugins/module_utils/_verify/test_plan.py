# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attempts of a verification, and the verdicts on their results. The Molecule scenarios run them at real brokers."""

from __future__ import annotations

import dataclasses
import json

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan
from ansible_collections.opendev.firehose.plugins.module_utils._verify.plan import (
    FAILED,
    NOT_CHECKED,
    PASSED,
    Check,
    Mode,
)

WAYS = plan.ways([{"port": 1883, "protocol": "mqtt"}, {"port": 80, "protocol": "websockets"}])
ZUUL = plan.Publisher("zuul", ("status", "zuul/+/x/#"))


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "a/+/b", "+/+/#", "a"])
def test_a_concrete_topic_matches_the_filter(topic_filter):
    topic = plan.concrete(topic_filter, "1f")
    assert topic_filters.matches(topic_filter, topic)
    assert ("1f" in topic) == (topic_filter != "a")


def test_the_test_topic_of_a_publisher():
    assert plan.own_topic(ZUUL, "1f") == "zuul/firehose-verify-1f/x/firehose-verify-1f"
    assert plan.own_topic(plan.Publisher("a", ("status",)), "1f") == "status"
    assert plan.own_topic(plan.Publisher("a"), "1f") is None
    assert plan.own_topic(plan.Publisher("a", ("$SYS/#",)), "1f") is None


def test_anonymous_attempts_cover_each_way_and_publisher():
    attempts = plan.anonymous_attempts(WAYS, [ZUUL], ["chat/#"], "firehose/verify/1f", "1f")
    assert "chat/firehose-verify-1f" in {attempt.topic for attempt in attempts}
    tried = {(attempt.way, attempt.mode) for attempt in attempts if attempt.topic == "firehose/verify/1f"}
    assert tried == {(way, mode) for way in WAYS for mode in plan.MODES}
    assert len(tried) == 24
    assert plan.own_topic(ZUUL, "1f") in {attempt.topic for attempt in attempts}
    assert {(attempt.username, attempt.password) for attempt in attempts} == {(None, None)}


def test_a_pattern_is_tried_with_its_client_id():
    [attempt] = [one for one in plan.anonymous_attempts(WAYS, [], ["of/%c/#"], "t", "1f") if one.topic != "t"]
    assert attempt.topic == f"of/{attempt.client_id}/firehose-verify-1f"


def test_usernames_are_tried_without_the_correct_password():
    attempts = plan.claiming_attempts(WAYS, [ZUUL, plan.Publisher("b")], "t", "1f")
    assert {attempt.topic for attempt in attempts if attempt.username == "b"} == {"t"}
    assert {(attempt.username, attempt.way, attempt.mode.will, attempt.password) for attempt in attempts} == {
        (name, way, will, guess)
        for name, ways in (("zuul", WAYS), ("b", WAYS[:1]))
        for way in ways
        for will in (False, True)
        for guess in (None, "", "not the password")
    }


def test_each_attempt_has_its_own_payload():
    attempts = plan.numbered(plan.anonymous_attempts(WAYS, [], [], "t", "1f"), 5)
    payloads = {attempt.payload for attempt in attempts}
    assert len(payloads) == len(attempts)
    assert all(json.loads(payload)["run"] == "1f" for payload in payloads)


ATTEMPTS = plan.numbered(plan.anonymous_attempts(WAYS[:1], [], [], "t", "1f"), 0)


def test_a_single_attempt_uses_qos_1_if_possible():
    way = dataclasses.replace(WAYS[0], max_qos=0)
    assert [plan.single(WAYS[0]), plan.single(way)] == [Mode(1), Mode(0)]
    modes = {attempt.mode for attempt in plan.anonymous_attempts([way], [ZUUL], [], "t", "1f") if attempt.topic != "t"}
    assert modes == {Mode(0)}


@pytest.mark.parametrize(
    ("mode", "limits", "causes"),
    [
        (Mode(1), {}, {"login"}),
        (Mode(1, retain=True, will=True), {}, {"login"}),
        (Mode(1), {"max_qos": 0}, {"login", "refused", "lost", "not_mqtt", "tls"}),
        (Mode(0), {"max_qos": 0}, {"login"}),
        (Mode(1, retain=True), {"retain": False}, {"login", "refused", "lost", "not_mqtt", "tls"}),
        (Mode(1, will=True), {"retain": False}, {"login"}),
    ],
)
def test_failures_that_prove_a_rejection(mode, limits, causes):
    attempt = plan.Attempt(0, dataclasses.replace(WAYS[0], **limits), mode, "t", "1f")
    every = ("unreachable", "no_answer", "not_mqtt", "tls", "login", "refused", "lost", "time")
    assert {cause for cause in every if plan.is_turned_away(attempt, cause)} == causes


@pytest.mark.parametrize(
    ("attempts", "reached", "untried", "let_in", "result", "words"),
    [
        (ATTEMPTS, set(), {}, set(), PASSED, "6 attempts"),
        (
            ATTEMPTS,
            {1, 4},
            {2: "x"},
            {1},
            FAILED,
            "2 of 6 attempts reached subscribers, the first by an anonymous client on 't'",
        ),
        (ATTEMPTS, {99}, {}, set(), PASSED, "6 attempts"),
        (ATTEMPTS, set(), {2: "no answer"}, set(), FAILED, "1 of 6 attempts could not be made"),
        (ATTEMPTS, set(), {}, {2}, FAILED, "1 of 6 attempts were accepted"),
        (ATTEMPTS, {3}, {}, set(), FAILED, "QoS 1, retained; could not be removed: an anonymous client on 't'"),
        ([], set(), {}, set(), NOT_CHECKED, "nothing to try"),
    ],
)
def test_outcome(attempts, reached, untried, let_in, result, words):
    made = plan.Made(attempts, untried, let_in)
    check = plan.outcome("nobody publishes", made, reached, {number: "gone" for number in reached if number == 3})
    assert (check.check, check.result) == ("nobody publishes", result)
    assert words in check.cause


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b'{"type": "x", "eventCreatedOn": 950}', None),
        (b'{"type": "x", "eventCreatedOn": 899}', "101 seconds old"),
        (b'{"type": "dropped-output"}', None),
        (b"[]", "no event"),
        (b"{}", "no event"),
        (b'{"type": "firehose-verify"}', "no event"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_the_age_of_events_in_the_feed(payload, problem):
    found = plan.feed_problem(payload, now=1000, max_age=100)
    assert found is None if problem is None else problem in found


def test_lines_of_the_table():
    assert str(Check("$SYS is closed", PASSED)) == "passed       $SYS is closed"
    assert str(Check("a", NOT_CHECKED, "why")) == "not checked  a: why"


@pytest.mark.parametrize(
    ("public", "topic"),
    [
        (["#"], "firehose/verify/1f/beacon"),
        (["gerrit/#", "firehose/#"], "firehose/verify/1f/beacon"),
        (["status", "gerrit/+/x"], "gerrit/firehose-verify-1f-beacon/x"),
        (["status"], "firehose/verify/1f/beacon"),
    ],
)
def test_the_topic_for_a_purpose_of_a_run(public, topic):
    assert plan.place(public, "1f", "beacon") == topic
    assert plan.may_read(public, topic) == (public != ["status"])


def test_all_topics_of_a_run_are_watched():
    watched = plan.watched([ZUUL, plan.Publisher("b", ("$SYS/#",))], ["chat/#"], ["#"], "1f")
    attempts = [
        *plan.anonymous_attempts(WAYS, [ZUUL], ["chat/#"], plan.place(["#"], "1f", plan.ANONYMOUS), "1f"),
        *plan.claiming_attempts(WAYS, [ZUUL], plan.place(["#"], "1f", plan.CLAIM), "1f"),
    ]
    assert {attempt.topic for attempt in attempts} <= {*watched}
    assert len(watched) == 5


def test_similar_topics_share_one_filter():
    """The broker limits topic filters of anonymous clients, so their number must not depend on the number of publishers."""
    publishers = [plan.Publisher(str(number), (f"ci/{number}/#",)) for number in range(100)]
    fixed = plan.Publisher("fixed", ("news/all",))
    watched = plan.watched([*publishers, fixed], ["$x/#", "a/+/b"], ["#"], "1f")
    found = plan.filters(watched, "1f")
    assert len(watched) == 105
    assert len(found) == 4
    assert {"+/+/firehose-verify-1f", "news/all", "+/firehose-verify-1f/+"} <= {*found}
    assert [topic for topic in watched if not any(topic_filters.matches(one, topic) for one in found)] == []


BEACON = {"beacon": 7, "attempts": [3], "publishers": [1], "failed": {"2": "why"}}


def test_a_beacon_is_read():
    beacon = plan.Beacon.read(plan.payload("1f", **BEACON).encode(), "1f")
    assert (beacon.number, beacon.attempts, beacon.publishers, beacon.failed) == (7, {3}, {1}, {"2": "why"})


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"\xff",
        b"[]",
        b"7",
        plan.payload("2e", **BEACON).encode(),
        plan.payload("1f", attempt=3).encode(),
        plan.payload("1f", **{**BEACON, "beacon": "x"}).encode(),
        plan.payload("1f", **{**BEACON, "attempts": 3}).encode(),
        plan.payload("1f", **{**BEACON, "failed": [1]}).encode(),
    ],
)
def test_invalid_beacons(payload):
    assert plan.Beacon.read(payload, "1f") is None


def test_the_text_of_an_attempt_has_no_password():
    [attempt] = plan.numbered([plan.Attempt(0, WAYS[0], plan.MODES[0], "t", "1f", "x", "zuul", "secret")], 0)
    assert "secret" not in f"{attempt!r} {attempt}"
