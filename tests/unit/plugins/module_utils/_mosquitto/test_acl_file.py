# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ACL file as data: parse, merge, render."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_file, line_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto.acl_file import Rights, Rule
from hypothesis import given, settings
from hypothesis import strategies as st

GOOD = """\
# by hand
topic read #
topic  deny   secret things/#

# alice writes
user alice
topic write a/#
topic b/c

pattern read own/%u
user  bob jones
topic readwrite b/+
user alice
topic read x
"""


def test_all_valid_lines_are_parsed():
    lines = acl_file.parse(GOOD)
    assert acl_file.render(lines) == GOOD
    assert acl_file.render(acl_file.parse(GOOD.rstrip("\n"))) == GOOD
    assert acl_file.collect(lines) == Rights(
        anonymous=[Rule("#", "read"), Rule("secret things/#", "deny")],
        users={
            "alice": [Rule("a/#", "write"), Rule("b/c", "readwrite"), Rule("x", "read")],
            "bob jones": [Rule("b/+", "readwrite")],
        },
        patterns=[Rule("own/%u", "read")],
    )


def test_a_rule_without_an_access_allows_reading_and_writing():
    assert acl_file.collect(acl_file.parse("topic a/b\n")).anonymous == [Rule("a/b", "readwrite")]


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("topic read a\nuser\n", 2, "no name"),
        ("user   \n", 1, "no name"),
        ("topic\n", 1, "no topic"),
        ("topic a b\n", 1, "what stands before the topic is none of read, write, readwrite, deny"),
        ("\n# x\ntopic read a/#/b\n", 3, "'#' must be the whole last level"),
        ("topic read a+\n", 1, "a topic filter: '\\+' must be a whole level"),
        ("topic read " + "a/" * 201 + "b\n", 1, "more than 200 slashes"),
        ("topic\tread a\n", 1, "starts with none of"),
        (" # no comment\n", 1, "starts with none of"),
        ("topic read a\r\n", 1, "CR LF"),
        ("topic read a\0b\n", 1, "NUL"),
        ("Topic read a\n", 1, "starts with none of"),
    ],
)
def test_errors_of_invalid_files_name_the_line(content, line, why):
    with pytest.raises(line_file.FileError, match=why) as error:
        acl_file.parse(content)
    assert error.value.line == line


def merge(content, acl, prune=False):
    assert acl_file.problems(acl) == []
    return acl_file.render(acl_file.merge(acl_file.parse(content), acl_file.wanted(acl), prune=prune))


def rules(*texts):
    return [dict(zip(("access", "topic"), text.split(" ", 1))) for text in texts]


@pytest.mark.parametrize(
    ("before", "acl", "after"),
    [
        pytest.param(GOOD, {}, GOOD, id="nothing asked for"),
        pytest.param("", {"anonymous": rules("read #")}, "topic read #\n", id="the first rule of all"),
        pytest.param(
            "",
            {
                "anonymous": [{"topic": "#"}],
                "users": [{"name": "z", "rules": rules("write z/#")}],
                "patterns": rules("read %u"),
            },
            "topic read #\npattern read %u\n\nuser z\ntopic write z/#\n",
            id="one of each",
        ),
        pytest.param(
            "# managed\n\n# zuul\nuser z\ntopic write z/#\n",
            {"anonymous": rules("read #")},
            "# managed\n\ntopic read #\n# zuul\nuser z\ntopic write z/#\n",
            id="anonymous before the first user and its comment",
        ),
        pytest.param(
            "topic read a\nuser z\ntopic write z\n",
            {"anonymous": rules("read b", "read a")},
            "topic read a\ntopic read b\nuser z\ntopic write z\n",
            id="anonymous behind its last rule",
        ),
        pytest.param(
            "user a\ntopic write a\n# mine\nuser b\ntopic read b\n",
            {"users": [{"name": "a", "rules": rules("write c")}]},
            "user a\ntopic write c\n# mine\nuser b\ntopic read b\n",
            id="one user's rules alone",
        ),
        pytest.param(
            "user a\ntopic write a\nuser b\ntopic read b\nuser a\ntopic read c\n",
            {"users": [{"name": "a", "state": "absent"}]},
            "user b\ntopic read b\n",
            id="absent, wherever its rules stand",
        ),
        pytest.param(
            "user a\ntopic write a\n",
            {"users": [{"name": "a", "rules": []}]},
            "",
            id="no rules are no user",
        ),
        pytest.param(
            "user a\ntopic b/#\n",
            {"users": [{"name": "a", "rules": rules("readwrite b/#")}]},
            "user a\ntopic b/#\n",
            id="what says the same stays as it is written",
        ),
        pytest.param(
            "topic read a\ntopic read a\n",
            {"anonymous": rules("read a")},
            "topic read a\n",
            id="what stands twice",
        ),
        pytest.param(
            "user z\ntopic write z\n",
            {
                "users": [
                    {"name": "new", "rules": rules("write n")},
                    {"name": "z", "rules": rules("write z", "write y")},
                ]
            },
            "user z\ntopic write z\ntopic write y\n\nuser new\ntopic write n\n",
            id="further rules of the last user before a new one",
        ),
        pytest.param(
            "user a\ntopic read a\npattern read %u\npattern read %c\n",
            {"patterns": rules("read %c", "write %u/x")},
            "user a\ntopic read a\npattern read %c\npattern write %u/x\n",
            id="patterns",
        ),
    ],
)
def test_merge(before, acl, after):
    assert merge(before, acl) == after
    assert merge(after, acl) == after


@pytest.mark.parametrize("before", ["", "topic read #\n", GOOD])
def test_a_user_that_is_added_and_removed_leaves_nothing(before):
    users = [{"name": "guest", "rules": rules("write g/#", "read h")}]
    with_guest = merge(before, {"users": users})
    assert with_guest != before
    assert merge(with_guest, {"users": [{"name": "guest", "state": "absent"}]}) == before


def test_prune_keeps_given_rules_and_comments():
    acl = {"users": [{"name": "bob jones", "rules": rules("readwrite b/+", "read c")}]}
    expected = "# by hand\n\n# alice writes\n\nuser  bob jones\ntopic readwrite b/+\ntopic read c\n"
    assert merge(GOOD, acl, prune=True) == expected


@pytest.mark.parametrize(
    ("acl", "problem"),
    [
        ({"anonymous": rules("read a", "read a/#/b")}, "acl.anonymous[1]: "),
        ({"anonymous": rules("read  a")}, "acl.anonymous[0]: "),
        ({"users": [{"name": "a:b"}]}, "acl.users[0]: "),
        ({"users": [{"name": "a", "rules": rules("read a+")}]}, "acl.users[0].rules[0]: "),
        ({"users": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "acl.users[2]: acl.users[0] has the same name"),
        ({"patterns": rules("read a%u/b")}, "acl.patterns[0]: 'a%u/b': '%u' and '%c' must be whole levels"),
        ({"patterns": rules("read a/\n")}, "acl.patterns[0]: "),
    ],
)
def test_problems_name_the_place(acl, problem):
    [found] = acl_file.problems(acl, "acl.")
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("text", "lets"),
    [
        ("topic read #", False),
        ("topic deny #", False),
        ("topic write a", True),
        ("topic a", True),
        ("user x\ntopic write a", False),
        ("user x\npattern write a", True),
        ("pattern readwrite a/%c", True),
        ("pattern readwrite a/%u/%c", False),
        ("pattern read a/%c", False),
    ],
)
def test_lines_that_allow_anonymous_publishing(text, lets):
    assert any(acl_file.lets_anonymous_publish(line) for line in acl_file.parse(text)) == lets


# Any rule that the broker accepts, including levels that look like keywords, comments and placeholders.
LEVELS = st.sampled_from(["", "a", "read", "b c", "+", "%u", "é", "user", "$SYS"])
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(LEVELS, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
).filter(lambda text: text == text.strip() and text)
RULES = st.lists(st.fixed_dictionaries({"topic": FILTERS, "access": st.sampled_from(acl_file.ACCESS)}), max_size=4)
NAMES = st.sampled_from(["alice", "bob jones", "topic é"])
USERS = st.lists(NAMES, unique=True, max_size=4).flatmap(
    lambda names: st.tuples(*(st.fixed_dictionaries({"name": st.just(name), "rules": RULES}) for name in names)).map(
        list
    )
)
ACLS = st.fixed_dictionaries({"anonymous": RULES, "users": USERS, "patterns": RULES})
PARTS = st.fixed_dictionaries({}, optional={"anonymous": RULES, "users": USERS, "patterns": RULES})
COMMENTS = st.lists(st.sampled_from(["", "# comment", "#topic write #"]), max_size=3)


@st.composite
def files(draw):
    """A file with rules, and lines without meaning anywhere."""
    lines = acl_file.merge([], acl_file.wanted(draw(ACLS)))
    for text in draw(COMMENTS):
        lines.insert(draw(st.integers(0, len(lines))), acl_file.Line(text))
    return acl_file.render(lines)


def as_sets(rights):
    """Rules without their order, and without users that have no rules."""
    return (
        sorted(rights.anonymous),
        {name: sorted(own) for name, own in rights.users.items() if own},
        sorted(rights.patterns),
    )


def expected(content, acl, prune):
    """The expected result of a merge, computed in another way."""
    rights, wanted = acl_file.collect(acl_file.parse(content)), acl_file.wanted(acl)
    anonymous = wanted.anonymous if wanted.anonymous is not None else [] if prune else rights.anonymous
    patterns = wanted.patterns if wanted.patterns is not None else [] if prune else rights.patterns
    return as_sets(Rights(anonymous, {**({} if prune else rights.users), **wanted.users}, patterns))


@given(acl=ACLS)
def test_any_rules_survive_a_round_trip(acl):
    wanted = acl_file.wanted(acl)
    content = acl_file.render(acl_file.merge([], wanted))
    assert acl_file.render(acl_file.parse(content)) == content
    rights = Rights(wanted.anonymous, wanted.users, wanted.patterns)
    assert as_sets(acl_file.collect(acl_file.parse(content))) == as_sets(rights)


@settings(max_examples=5 * settings.default.max_examples)
@given(content=files(), acl=PARTS, prune=st.booleans())
def test_merging_is_correct_and_idempotent(content, acl, prune):
    merged = acl_file.render(acl_file.merge(acl_file.parse(content), acl_file.wanted(acl), prune=prune))
    assert as_sets(acl_file.collect(acl_file.parse(merged))) == expected(content, acl, prune)
    assert acl_file.render(acl_file.merge(acl_file.parse(merged), acl_file.wanted(acl), prune=prune)) == merged
    comments = [line for line in content.splitlines() if line.startswith("#")]
    assert [line for line in merged.splitlines() if line.startswith("#")] == comments
