# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The conversion of a line of the stream."""

from __future__ import annotations

import contextlib
import json
import urllib.parse

import pytest
from germqtt import events
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

ORDINARY = st.from_regex(r"[A-Za-z0-9_.é日-]+(/[A-Za-z0-9_.é日-]+){0,5}", fullmatch=True)
# Names that are similar to each other, names with characters that are encoded, and any others.
TRICKY = st.lists(st.sampled_from(["/", "%", "%2F", "%25", "2F", "a", " ", "+", "#", "\0", "\n", "\ud800"])).map(
    "".join
)
NAMES = TRICKY | st.text(st.characters(codec=None))
# As in JSON, where a surrogate pair is one character.
JSON_NAMES = NAMES.map(lambda name: json.loads(json.dumps(name)))


def line(project: str, kind: str = "x") -> bytes:
    return json.dumps({"project": project, "type": kind}).encode()


def topic(project: str, kind: str = "x", base: str = "gerrit") -> str | None:
    """The topic of an event, or None."""
    try:
        return events.message(base, line(project, kind))[0]
    except events.UnusableError:
        return None


# ---- topics ----------------------------------------------------------------------------------------------------------


@given(project=ORDINARY, kind=st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True))
@example(project="All-Projects", kind="ref-updated")
@example(project="", kind="project-created")
@example(project="a/b.c/d_e~f@g:h=i&j,k;l!(m)[n]{o}'p\"q$r*s?t|u<v>w^x`y\\z", kind="x")
def test_ordinary_names_are_not_encoded(project, kind):
    assert topic(project, kind) == f"gerrit/{project}/{kind}"


@settings(max_examples=10 * settings.default.max_examples)
@given(one=st.tuples(JSON_NAMES, JSON_NAMES), other=st.tuples(JSON_NAMES, JSON_NAMES))
@example(one=("a/", "x"), other=("a", "/x"))
@example(one=("", "a/x"), other=("a", "x"))
@example(one=("a//b", "x"), other=("a/%2Fb", "x"))
@example(one=("\ud800", "x"), other=("%ED%A0%80", "x"))
@example(one=("/", "x"), other=("//", "x"))
def test_different_names_have_different_topics(one, other):
    assume(one != other and topic(*one) is not None)
    assert topic(*one) != topic(*other)


@settings(max_examples=4 * settings.default.max_examples)
@given(project=JSON_NAMES, kind=JSON_NAMES)
def test_the_encoding_of_a_topic_is_reversible(project, kind):
    """The encoding is reversible, so no two names share a topic."""
    made = topic(project, kind)
    assume(made is not None)
    levels, _slash, last = made.removeprefix("gerrit/").rpartition("/")
    found = [urllib.parse.unquote_to_bytes(part).decode("utf-8", "surrogatepass") for part in (levels, last)]
    assert found == [project, kind]


@settings(max_examples=4 * settings.default.max_examples)
@given(project=JSON_NAMES, kind=JSON_NAMES)
@example(project="\ufffe\uffff\ufdd0\U0001fffe\U0010ffff", kind="\x7f\x85\x9f")
def test_topics_are_valid_and_within_the_maximum_length(project, kind):
    made = topic(project, kind)
    assume(made is not None)
    assert not set(made) & set("+# ")
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in made)
    assert not any(0xFDD0 <= ord(char) <= 0xFDEF or ord(char) & 0xFFFE == 0xFFFE for char in made)
    assert len(made.encode()) <= events.LONGEST_TOPIC
    _base, *levels, _last = made.split("/")
    assert all(levels) or levels == [""]  # a single empty level for an event without a project


@pytest.mark.parametrize(
    ("project", "levels"),
    [
        ("c++", "c%2B%2B"),
        ("c#", "c%23"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("a b", "a%20b"),
        ("a\tb\n", "a%09b%0A"),
        ("/a", "%2Fa"),
        ("a/", "a%2F"),
        ("a//b", "a/%2Fb"),
        ("a///b", "a/%2F%2Fb"),
        ("/", "%2F"),
        ("//", "%2F%2F"),
        ("\x85", "%C2%85"),
        ("\u2028\u2029", "%E2%80%A8%E2%80%A9"),
        ("\ud800", "%ED%A0%80"),
        ("\uffff", "%EF%BF%BF"),
        ("😀", "😀"),
    ],
)
def test_names_that_are_encoded(project, levels):
    assert topic(project) == f"gerrit/{levels}/x"


def test_a_type_is_one_level():
    assert topic("p", "a/b+c") == "gerrit/p/a%2Fb%2Bc"


@pytest.mark.parametrize(
    ("project", "fits"),
    [("x" * 65526, True), ("x" * 65527, False), ("a/" * 197 + "b", True), ("a/" * 200 + "b", False)],
)
def test_a_topic_that_is_too_long_is_rejected(project, fits):
    assert (topic(project) is not None) == fits


# ---- events ----------------------------------------------------------------------------------------------------------


def as_germqtt_0_1_0(event: dict) -> str:
    """The project as germqtt 0.1.0 finds it."""
    project = event.get("project", "")
    if not project:
        if "change" in event:
            project = event["change"].get("project", "")
        elif "refUpdate" in event:
            project = event["refUpdate"].get("project", "")
    return project


def test_a_stream_is_published_as_germqtt_0_1_0_does(stream_lines):
    for each in stream_lines:
        event = json.loads(each)
        expected = f"gerrit/{as_germqtt_0_1_0(event)}/{event['type']}", json.dumps(event).encode()
        assert events.message("gerrit", each) == expected


@pytest.mark.parametrize(
    "event",
    [
        {"project": {"name": "a/b"}},
        {"project": {"name": "a/b"}, "change": {"project": "a/b"}},
        {"change": {"project": {"name": "a/b"}}},
        {"refUpdate": {"project": {"name": "a/b"}}},
    ],
)
def test_a_project_can_be_an_object_with_a_name(event):
    """Webhooks have this form. germqtt 0.1.0 crashes at such an event."""
    line = json.dumps({"type": "x", **event}).encode()
    assert events.message("gerrit", line) == ("gerrit/a/b/x", line)


OTHER_PLACES = [
    ({"projectName": "a/b"}, "a/b"),
    ({"projectName": "a/b", "project": "c"}, "c"),
    ({"projectName": "a/b", "change": {"project": "c"}}, "c"),
    ({"refUpdates": [{"project": "a"}, {"project": "a"}]}, "a"),
    ({"refUpdates": [{"project": "a"}, {"project": "b"}]}, ""),
    ({"refUpdates": []}, ""),
    ({"refUpdates": [None]}, ""),
    ({"refUpdates": {"project": "a"}}, ""),
    ({"projectName": ["a"]}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("event", "project"), OTHER_PLACES)
def test_project_topics_finds_projects_in_other_fields(event, project):
    raw = json.dumps({"type": "x", **event}).encode()
    assert events.message("gerrit", raw, project_topics=True)[0] == f"gerrit/{project}/x"
    assert events.message("gerrit", raw)[0] == f"gerrit/{as_germqtt_0_1_0(event)}/x"


def test_with_project_topics_every_event_has_a_project(stream_lines):
    without = [topic for topic, _payload in (events.message("g", line, True) for line in stream_lines) if "//" in topic]
    assert without == ["g//dropped-output"]


PROJECTS = st.sampled_from(["", "a", "b/c"])
HOLDERS = st.fixed_dictionaries({}, optional={"project": PROJECTS})
EVENTS = st.fixed_dictionaries(
    {"type": st.just("x")}, optional={"project": PROJECTS, "change": HOLDERS, "refUpdate": HOLDERS}
)


@given(event=EVENTS)
def test_projects_are_where_germqtt_0_1_0_finds_them(event):
    assert events.message("g", json.dumps(event).encode())[0] == f"g/{as_germqtt_0_1_0(event)}/x"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=20,
)


@given(value=JSON, ascii_only=st.booleans())
def test_payloads_have_the_same_content(value, ascii_only):
    text = json.dumps({"type": "x", "project": "p", "value": value}, ensure_ascii=ascii_only)
    raw = text.encode("utf-8", "backslashreplace")  # a lone surrogate, which JSON allows
    _topic, payload = events.message("gerrit", raw)
    assert payload == json.dumps(json.loads(raw)).encode()
    assert payload.isascii()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"nonsense", "not JSON"),
        (b'{"type": "x"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"type": "\xff"}', "not UTF-8"),
        (b'{"type": "\xed\xa0\x80"}', "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"{}", "type is not a text"),
        (b'{"type": ""}', "type is not a text"),
        (b'{"type": 1}', "type is not a text"),
        (b'{"type": ["x"]}', "type is not a text"),
        (b'{"type": "x", "project": 1}', "project is not a text"),
        (b'{"type": "x", "project": {"id": "p"}}', "project is not a text"),
        (b'{"type": "x", "project": {"name": ["p"]}}', "project is not a text"),
        (b'{"type": "x", "change": {"project": ["p"]}}', "project is not a text"),
        (b'{"type": "x", "change": null}', "not an object"),
        (b'{"type": "x", "change": "p"}', "not an object"),
        (b'{"type": "x", "refUpdate": []}', "not an object"),
    ],
)
def test_unusable_lines(raw, why):
    with pytest.raises(events.UnusableError, match=why):
        events.message("gerrit", raw)


@settings(max_examples=4 * settings.default.max_examples)
@given(raw=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_causes_another_error(raw):
    events.created(raw)
    events.says_dropped(raw)
    with contextlib.suppress(events.UnusableError):
        events.message("gerrit", raw)


def test_no_nesting_depth_causes_another_error():
    """Some values can be parsed, but not serialized again."""
    for depth in (*range(800, 1100), 5000, 20_000, 100_000):
        raw = b'{"type": "x", "a": ' + b"[" * depth + b"]" * depth + b"}"
        with contextlib.suppress(events.UnusableError):
            events.message("gerrit", raw)


# ---- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (b'{"type":"x","eventCreatedOn":1772438474}', 1772438474),
        (b'{"type":"x","eventCreatedOn": 1772438474 }', 1772438474),
        (b'{"eventCreatedOn":1,"type":"x"}', 1),
        (b'{"a":{"eventCreatedOn":1},"eventCreatedOn":2}', 2),
        (rb'{"eventCreatedOn":2,"comment":"\"eventCreatedOn\":1"}', 2),
        (b'{"type":"x"}', None),
        (b'{"eventCreatedOn":"1"}', None),
        (b'{"eventCreatedOn":null}', None),
        (b'{"eventCreatedOn":-1}', None),
        (b'{"eventCreatedOn":1234567890123}', None),
        (b"", None),
    ],
)
def test_the_creation_time_of_an_event(raw, moment):
    assert events.created(raw) == moment


def test_the_creation_times_of_a_stream(stream_lines):
    for each in stream_lines:
        assert events.created(each) == json.loads(each).get("eventCreatedOn")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"type":"dropped-output"}', True),
        (b'{"type": "dropped-output", "eventCreatedOn": 1}', True),
        (b'{"type":"comment-added","comment":"dropped-output"}', False),
        (b'{"type":"x"}', False),
        (b"dropped-output", False),
        (b'["dropped-output"]', False),
    ],
)
def test_an_event_about_dropped_events_is_detected(raw, says):
    assert events.says_dropped(raw) is says


@given(start=st.floats(0, 4e9), end=st.floats(0, 4e9), inside=st.floats(0, 1))
def test_a_gap_covers_its_span(start, end, inside):
    """In whole seconds, as in events, and also if the clock was set back."""
    told = json.loads(events.gap(start, end, "why", 3))
    assert told["from"] <= int(start + inside * (end - start)) <= told["to"]
    assert (told["type"], told["reason"], told["events"]) == ("gap", "why", 3)


def test_a_gap_can_have_an_unknown_number_of_events():
    assert json.loads(events.gap(1.5, 2.5, "why")) == {
        "type": "gap",
        "from": 1,
        "to": 3,
        "reason": "why",
        "events": None,
    }
