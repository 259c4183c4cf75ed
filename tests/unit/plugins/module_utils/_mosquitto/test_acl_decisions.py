# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""ACL decisions, compared with the evaluation order in mosquitto.conf(5) over a small alphabet."""

from __future__ import annotations

import functools
import itertools
import re
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_decisions, acl_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto.acl_file import Rights, Rule
from hypothesis import given
from hypothesis import strategies as st

NAMES = ["a", "b", "u"]
TOPICS = ["/".join(levels) for count in (1, 2, 3) for levels in itertools.product(NAMES, repeat=count)]
TOPICS += ["$SYS/a", "$SYS/broker/connection/a/state", "$share/a/b", "$x/a"]
CLIENTS = [(None, "c"), (None, "b"), ("u", "c"), ("v", "b"), ("u+", "c"), ("u", "#")]
# Characters of a topic: slashes, and the first character of the broker's own topics.
CLIENTS += [("a/b", "b/a/u"), ("u", "a/b"), ("$SYS", "$x"), ("u", "$SYS/broker/connection")]
QUESTIONS = list(itertools.product(TOPICS, ("read", "write"), CLIENTS))


def rights_of(*levels):
    """Any rules over these levels."""
    filters = st.one_of(
        st.builds(
            lambda levels, rest: "/".join([*levels, *rest]),
            st.lists(st.sampled_from(levels), min_size=1, max_size=2),
            st.sampled_from([[], ["#"]]),
        ),
        st.sampled_from(
            ["#", "$SYS/#", "$SYS/+", "$share/a/b", "$x/#", "$SYS/broker/connection/a/state", "%c/a/state"]
        ),
    )
    rules = st.lists(st.builds(Rule, filters, st.sampled_from(acl_file.ACCESS)), max_size=4)
    return st.builds(lambda anonymous, user, patterns: Rights(anonymous, {"u": user}, patterns), rules, rules, rules)


LEVELS = ["a", "b", "u", "+", "%u", "%c"]


@functools.cache
def matches(topic_filter, topic):
    pattern = re.escape(topic_filter).replace(r"\+", "[^/]*")
    pattern = re.sub(r"(^|/)\\#$", lambda found: "(/.*)?" if found.group(1) else ".*", pattern)
    return (
        topic_filter[0] == topic[0]
        if "$" in (topic_filter[0], topic[0]) and topic_filter[0] != topic[0]
        else bool(re.fullmatch(pattern, topic))
    )


def closed(topic, access):
    """Topics that no rule can allow."""
    if topic.startswith("$SYS") and access == "write":
        return not re.fullmatch(r"\$SYS/broker/connection/[^/]*/state", topic)
    return topic.startswith("$share")


def first_match(rules, topic, access):
    for topic_filter, rule_access in sorted(rules, key=lambda rule: rule[1] != "deny"):
        if rule_access in (access, "readwrite", "deny") and matches(topic_filter, topic):
            return rule_access != "deny"
    return None


def put_in(pattern, name, client_id):
    """A pattern for a client as in 2.0: the text is replaced everywhere."""
    return pattern.replace("%u", name or "").replace("%c", client_id)


def put_in_levels(pattern, name, client_id):
    """As in 2.1: only whole levels are replaced, by one level of a topic, and the first must not start with a dollar sign."""
    levels = [{"%u": name, "%c": client_id}.get(level, level) for level in pattern.split("/")]
    possible = not any("/" in level for level in levels) and levels[0].startswith("$") == pattern.startswith("$")
    return "/".join(levels) if possible else None


def brute_force(rights, topic, access, name, client_id, put_in=put_in):
    """The broker's loops: the client's own denials, its own rules, general denials, general rules."""
    own = first_match(rights.anonymous if name is None else rights.users.get(name, []), topic, access)
    if closed(topic, access) or own is not None:
        return bool(own) and not closed(topic, access)
    if any(char in f"{name}{client_id}" for char in "+#"):
        return False
    patterns = [rule for rule in rights.patterns if name is not None or "%u" not in rule.topic]
    filters = [(put_in(rule.topic, name, client_id), rule.access) for rule in patterns]
    return bool(first_match([(filter_, access) for filter_, access in filters if filter_], topic, access))


@given(rights=rights_of(*LEVELS))
def test_decisions_match_the_brokers_loops(rights):
    for topic, access, (name, client_id) in QUESTIONS:
        expected = brute_force(rights, topic, access, name, client_id)
        assert acl_decisions.decide(rights, topic, access, name, client_id) == expected, (
            topic,
            access,
            name,
            client_id,
        )


def needed(rights):
    """The rules without the pointless ones."""

    def rest(rules, allowed, **options):
        # Of equal rules, the later ones are pointless.
        rules = list(rules)
        for rule, _why in list(acl_decisions._pointless_in(rules, allowed, **options)):
            del rules[len(rules) - 1 - rules[::-1].index(rule)]
        return rules

    patterns = acl_decisions._allowed(rights.patterns, acl_decisions._widest)

    def own(rules):
        return rest(rules, [*acl_decisions._allowed(rules), *patterns])

    users = {name: own(rules) for name, rules in rights.users.items()}
    return Rights(own(rights.anonymous), users, rest(rights.patterns, patterns, patterns=True))


@given(rights=rights_of(*LEVELS, "b%c", "%ub"))
def test_removing_pointless_rules_changes_no_decision(rights):
    less = needed(rights)
    if less == rights:
        return
    for question, release in itertools.product(QUESTIONS, (put_in, put_in_levels)):
        topic, access, client = question
        with_all, without = (brute_force(some, topic, access, *client, release) for some in (rights, less))
        assert with_all == without, (question, release)


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
        ("topic readwrite a\ntopic deny a\n", ["anonymous: 'topic readwrite a': 'deny a' denies all of it"]),
        # One of them must stay
        (
            "topic readwrite a\ntopic read a\ntopic write a\n",
            ["anonymous: 'topic read a'", "anonymous: 'topic write a'"],
        ),
        (
            "topic read #\ntopic write #\ntopic readwrite a\n",
            ["anonymous: 'topic readwrite a': 'read #' and 'write #' allow it already"],
        ),
        ("topic read #\ntopic readwrite a\n", []),
        (
            "user x\ntopic read $SYS/#\ntopic readwrite $SYS/a\n",
            ["user x: 'topic readwrite $SYS/a': 'read $SYS/#' allows it already"],
        ),
        # A username can have slashes, or start with a dollar sign.
        ("pattern read a/+\npattern read a/%u\n", []),
        ("pattern read a/%u\npattern read a/+\n", []),
        ("pattern read #\npattern read %u/a\n", []),
        ("pattern read +/#\npattern read %u/a\n", []),
        ("pattern read a/#\npattern read a/%u\n", ["patterns: 'pattern read a/%u': 'read a/#' allows it already"]),
        ("pattern read +/%u/#\npattern read a/%u\n", ["patterns: 'pattern read a/%u': 'read +/%u/#' allows it"]),
        ("pattern read +/%u\npattern read a/%c\n", []),
        ("topic deny a/b/c\npattern read a/%c\n", []),
        ("topic deny b/c\npattern read a/%c\n", ["anonymous: 'topic deny b/c': nothing allows what it denies"]),
        ("topic deny $x/a\npattern read %c/a\n", []),
        ("topic deny ab/x\npattern read a%c/x\n", []),
        ("pattern read +/x\npattern deny %u/x\n", []),
        ("pattern read u\npattern deny %u\n", []),
        ("pattern read a/u\npattern deny a/%u\n", []),
        ("pattern write $SYS/%c/state\n", []),
        # Placeholders are replaced in patterns only
        ("topic read a/%u\n", ["anonymous: 'topic read a/%u': '%u' and '%c' stand for names in patterns only"]),
        (
            "topic read u\ntopic deny %u\n",
            ["anonymous: 'topic deny %u': nothing allows", "anonymous: 'topic deny %u': '%u'"],
        ),
        ("user x\ntopic deny a%cb\ntopic read +\n", ["user x: 'topic deny a%cb': '%u' and '%c' stand for names"]),
        ("pattern read a/%u/#\npattern deny a/b/#\n", []),
    ],
)
def test_pointless_rules_are_reported(content, reported):
    found = acl_decisions.pointless(acl_file.collect(acl_file.parse(content)))
    assert len(found) == len(reported), found
    assert all(line.startswith(start) for line, start in zip(found, reported)), found


@pytest.mark.parametrize("keyword", ["topic", "pattern"])
def test_many_rules_are_checked_quickly(keyword):
    rules = "".join(f"{keyword} read own/{number}/#\n{keyword} deny own/{number}/secret\n" for number in range(1500))
    started = time.process_time()
    assert acl_decisions.pointless(acl_file.collect(acl_file.parse(rules))) == []
    assert time.process_time() - started < 4
