# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topic filters by the rules of MQTT."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _topics


@pytest.mark.parametrize(
    "topic_filter", ["#", "+", "/", "a", "a/#", "+/+", "/a/+/b", "a b/c", "$SYS/#", "é/日本", "a//b"]
)
def test_filters_that_are_fine(topic_filter):
    assert _topics.filter_problem(topic_filter) is None


@pytest.mark.parametrize(
    "topic_filter", ["", "a#", "#/a", "a/#/b", "a+/b", "+a", "a\nb", "a\x00", "x" * 65536, "\ud800"]
)
def test_filters_that_are_not(topic_filter):
    assert _topics.filter_problem(topic_filter)


@pytest.mark.parametrize("topic_filter", [" a", "a ", "a/# "])
def test_files_cannot_hold_blanks_at_the_ends(topic_filter):
    assert _topics.filter_problem(topic_filter.strip()) is None
    assert _topics.rule_problem(topic_filter)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#", "a/#", True),
        ("a/#", "a/#", True),
        ("a/#", "a", True),
        ("+/#", "a/#", True),
        ("a/+", "a/b", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("a", "a/#", False),
        ("a/b/#", "a/#", False),
        ("b/#", "a/#", False),
    ],
)
def test_covers(one, other, expected):
    assert _topics.covers(one, other) is expected
