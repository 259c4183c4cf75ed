# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topic filters by the rules of MQTT."""

from __future__ import annotations

import itertools
import re

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "topic_filter", ["#", "+", "/", "a", "a/#", "+/+", "/a/+/b", "a b/c", "$SYS/#", "é/日本", "a//b"]
)
def test_valid_filters(topic_filter):
    assert topic_filters.filter_problem(topic_filter) is None


@pytest.mark.parametrize(
    "topic_filter",
    ["", "a#", "#/a", "a/#/b", "a+/b", "+a", "a\nb", "a\x00", "a\u2028b", "a\u2029b", "x" * 65536, "\ud800"],
)
def test_invalid_filters(topic_filter):
    assert topic_filters.filter_problem(topic_filter)


@pytest.mark.parametrize("topic_filter", [" a", "a ", "a/# "])
def test_rules_cannot_have_spaces_at_the_ends(topic_filter):
    assert topic_filters.filter_problem(topic_filter.strip()) is None
    assert topic_filters.rule_problem(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("#", "a/b", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
        ("$SYS/+", "$SYS/a", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+/#", "a", True),
        ("+", "a/b", False),
        ("/+", "/", True),
        ("a", "a/", False),
    ],
)
def test_matches(topic_filter, topic, expected):
    assert topic_filters.matches(topic_filter, topic) is expected


# All topics of up to three levels over an alphabet with every kind of level.
NAMES = ["", "a", "b"]
TOPICS = [
    "/".join([first, *rest])
    for count in range(3)
    for first in (*NAMES, "$x")
    for rest in itertools.product(NAMES, repeat=count)
]
LEVELS = st.sampled_from(["", "a", "b", "+"])
FILTERS = st.builds(
    lambda first, levels, end: "/".join([first, *levels, *end]),
    st.sampled_from(["", "a", "+", "$x"]),
    st.lists(LEVELS, max_size=2),
    st.sampled_from([[], ["#"]]),
).filter(bool) | st.just("#")


def brute_force(topic_filter: str) -> set[str]:
    """The topics that a filter matches, by a regular expression."""
    levels = [{"+": "[^/]*", "#": ".*"}.get(level, re.escape(level)) for level in topic_filter.split("/")]
    pattern = re.sub(r"/\.\*$", "(/.*)?", "/".join(levels))
    return {
        topic
        for topic in TOPICS
        if re.fullmatch(pattern, topic) and topic.startswith("$") == topic_filter.startswith("$")
    }


@given(topic_filter=FILTERS)
@example(topic_filter="#")
def test_matches_agrees_with_the_definition(topic_filter):
    assert {topic for topic in TOPICS if topic_filters.matches(topic_filter, topic)} == brute_force(topic_filter)


@settings(max_examples=10 * settings.default.max_examples)
@given(one=FILTERS, other=FILTERS)
def test_covers_and_overlap_agree_with_the_topics(one, other):
    # A filter with as many levels as the topics cannot distinguish '#' from '+'. Deeper levels add nothing new.
    assume(max(one.count("/"), other.count("/")) < 2 or "#" not in one + other)
    mine, theirs = brute_force(one), brute_force(other)
    assert topic_filters.covers(one, other) == (theirs <= mine)
    assert topic_filters.overlap(one, other) == bool(mine & theirs)
