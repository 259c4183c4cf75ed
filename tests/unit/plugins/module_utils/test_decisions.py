# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What rules decide, against the order in which mosquitto.conf(5) has them, tried out over a small alphabet."""

from __future__ import annotations

import itertools
import re

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _acls, _decisions
from ansible_collections.opendev.firehose.plugins.module_utils._acls import Rights, Rule
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ["a", "b", "u"]
TOPICS = ["/".join(levels) for count in (1, 2, 3) for levels in itertools.product(NAMES, repeat=count)]
TOPICS += ["$SYS/a", "$SYS/broker/connection/a/state", "$share/a/b", "$x/a"]
CLIENTS = [(None, "c"), (None, "b"), ("u", "c"), ("v", "b"), ("u+", "c"), ("u", "#")]
QUESTIONS = list(itertools.product(TOPICS, ("read", "write"), CLIENTS))

LEVELS = st.sampled_from(["a", "b", "+", "%u", "%c"])
FILTERS = st.one_of(
    st.builds(
        lambda levels, rest: "/".join([*levels, *rest]),
        st.lists(LEVELS, min_size=1, max_size=2),
        st.sampled_from([[], ["#"]]),
    ),
    st.sampled_from(["#", "$SYS/#", "$SYS/+", "$share/a/b", "$x/#", "$SYS/broker/connection/a/state"]),
)
RULES = st.lists(st.builds(Rule, FILTERS, st.sampled_from(_acls.ACCESS)), max_size=4)
RIGHTS = st.builds(lambda anonymous, user, patterns: Rights(anonymous, {"u": user}, patterns), RULES, RULES, RULES)


def matches(topic_filter, topic):
    pattern = re.escape(topic_filter).replace(r"\+", "[^/]*")
    pattern = re.sub(r"(^|/)\\#$", lambda found: "(/.*)?" if found.group(1) else ".*", pattern)
    return (
        topic_filter[0] == topic[0]
        if "$" in (topic_filter[0], topic[0]) and topic_filter[0] != topic[0]
        else bool(re.fullmatch(pattern, topic))
    )


def closed(topic, access):
    """What no rule can open."""
    if topic.startswith("$SYS") and access == "write":
        return not re.fullmatch(r"\$SYS/broker/connection/[^/]*/state", topic)
    return topic.startswith("$share")


def first_match(rules, topic, access):
    for topic_filter, rule_access in sorted(rules, key=lambda rule: rule[1] != "deny"):
        if rule_access in (access, "readwrite", "deny") and matches(topic_filter, topic):
            return rule_access != "deny"
    return None


def brute_force(rights, topic, access, name, client_id):
    """The broker's loops: the client's own denials, its own rules, everybody's denials, everybody's rules."""
    own = first_match(rights.anonymous if name is None else rights.users.get(name, []), topic, access)
    if closed(topic, access) or own is not None:
        return bool(own) and not closed(topic, access)
    if any(char in f"{name}{client_id}" for char in "+#"):
        return False
    patterns = [rule for rule in rights.patterns if name is not None or "%u" not in rule.topic]
    filters = [(rule.topic.replace("%u", name or "").replace("%c", client_id), rule.access) for rule in patterns]
    return bool(first_match(filters, topic, access))


@settings(max_examples=500)
@given(rights=RIGHTS)
def test_decisions_are_those_of_the_brokers_loops(rights):
    for topic, access, (name, client_id) in QUESTIONS:
        expected = brute_force(rights, topic, access, name, client_id)
        assert _decisions.decide(rights, topic, access, name, client_id) == expected, (topic, access, name, client_id)


@settings(max_examples=500)
@given(rights=RIGHTS)
def test_without_the_pointless_rules_everything_is_decided_alike(rights):
    def needed(rules, allowed):
        gone = [rule for rule, _why in _decisions._pointless_in(rules, allowed)]
        for rule in gone:
            # Of rules that are equal, the later are the pointless ones.
            rules = list(rules)
            del rules[len(rules) - 1 - rules[::-1].index(rule)]
        return rules

    patterns = _decisions._any_client(rights.patterns)
    less = Rights(
        needed(rights.anonymous, [*rights.anonymous, *patterns]),
        {"u": needed(rights.users["u"], [*rights.users["u"], *patterns])},
        needed(rights.patterns, patterns),
    )
    for topic, access, (name, client_id) in QUESTIONS:
        with_all = _decisions.decide(rights, topic, access, name, client_id)
        assert _decisions.decide(less, topic, access, name, client_id) == with_all, (topic, access, name, client_id)


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("topic read #\ntopic read a/#\n", ["anonymous: 'topic read a/#': 'read #' allows it already"]),
        ("topic read a\ntopic read a\n", ["anonymous: 'topic read a': 'read a' allows it already"]),
        ("topic readwrite a\ntopic write a\n", ["anonymous: 'topic write a': 'readwrite a' allows it already"]),
        ("topic read a\ntopic write a\n", []),
        ("topic read #\ntopic deny a\n", []),
        ("topic read a\ntopic deny #\n", ["anonymous: 'topic read a': 'deny #' denies all of it"]),
        (
            "topic read #\ntopic deny a/#\ntopic deny a/b\n",
            ["anonymous: 'topic deny a/b': 'deny a/#' denies all of it"],
        ),
        ("topic read a\ntopic deny b\n", ["anonymous: 'topic deny b': nothing allows what it denies"]),
        ("topic deny b\npattern read +/#\n", []),
        ("user x\ntopic write $SYS/a\n", ["user x: 'topic write $SYS/a': no client can write below $SYS"]),
        ("user x\ntopic write $SYS/#\n", []),
        (
            "user x\ntopic read $share/g/#\n",
            ["user x: 'topic read $share/g/#': no message has a topic that starts with"],
        ),
        ("topic read #\ntopic read $SYS/a\n", []),
        ("user x\ntopic read a\nuser y\ntopic read a\n", []),
        ("pattern read a/+\npattern read a/%u\n", ["patterns: 'pattern read a/%u': 'read a/+' allows it already"]),
        ("pattern read a/%u\npattern read a/+\n", ["patterns: 'pattern read a/%u': 'read a/+' allows it already"]),
        ("pattern read a/%u/#\npattern deny a/b/#\n", []),
    ],
)
def test_reports(content, reported):
    found = _decisions.pointless(_acls.collect(_acls.parse(content)))
    assert len(found) == len(reported)
    assert all(line.startswith(start) for line, start in zip(found, reported))
