# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The password file as data: parse, hash, merge, render."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file, password_file
from hypothesis import given
from hypothesis import strategies as st

# Written by mosquitto_passwd: Mosquitto 2.0.11 (101 iterations, 12 bytes of salt) and 2.1.2 (1000, 64 bytes), password "secret".
MOSQUITTO_2_0 = (
    "$7$101$9YVKVxJaCwEGBL4X$QvI1HXDSwCN45CiAB1z35F0uzXj3Ta7fXdL0g7ETMd8tg7agt+z69sAWvrc81TLxK8683nXAlrc5BQhLQLHO2A=="
)
MOSQUITTO_2_1 = (
    "$7$1000$r6TmW2Sc2dzDf36dcZDt/KpxG4UxILNXi0X+g6VJPeTj9dfdeVT/eygBsOLYB"
    "ZHzp6ZvxoJyNjn75QraqrxUug==$4IVwTjtQpAAtOrRCBj3KCLhRf0ANXaKkqyRbcQ7yKBuzMjk9oT6YiPiX6oHN18xiUz4qZHZ2"
    "FubX177brUkdAA=="
)
SALT = base64.b64encode(b"twelve bytes").decode()
DIGEST = base64.b64encode(bytes(64)).decode()
ARGON2 = "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"


@pytest.mark.parametrize("stored", [MOSQUITTO_2_0, MOSQUITTO_2_1])
def test_hashes_of_mosquitto_match_only_their_password(stored):
    parsed = password_file.parse_hash(stored)
    assert parsed.matches("secret")
    assert not parsed.matches("Secret")
    assert not parsed.matches("")


def test_generated_hashes_have_the_format_of_mosquitto_2_0():
    text = password_file.hash_password("pässword", password_file.Parameters(101))
    _empty, kind, iterations, salt, digest = text.split("$")
    assert (kind, iterations) == ("7", "101")
    assert len(base64.b64decode(salt)) == 12
    assert len(base64.b64decode(digest)) == 64
    assert password_file.parse_hash(text).matches("pässword")


def test_two_hashes_of_one_password_differ():
    assert password_file.hash_password("same") != password_file.hash_password("same")


def test_argon2_is_accepted_and_never_matches():
    assert not password_file.parse_hash(ARGON2).matches("secret")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ("", "it is none of"),
        ("secret", "it is none of"),
        ("$5$a$b", "it is none of"),
        (f"$7$101${SALT}", "it is none of"),
        (f"$7$0${SALT}${DIGEST}", "iterations"),
        (f"$7$-5${SALT}${DIGEST}", "iterations"),
        (f"$7$x${SALT}${DIGEST}", "iterations"),
        (f"$7$101$${DIGEST}", "0 bytes instead of 12 or 64"),
        (f"$7$101$not base64${DIGEST}", "salt is not Base64"),
        (f"$7$101${SALT}$!!", "hash is not Base64"),
        (f"$7$101${SALT}$AAAA", "3 bytes instead of 64"),
        (f"$6${SALT}$AAAA", "3 bytes instead of 64"),
        ("$argon2id$v=19$m=1,t=1$x", "not a complete"),
    ],
)
def test_invalid_hashes_are_rejected_and_not_quoted(stored, why):
    with pytest.raises(password_file.HashError, match=why) as error:
        password_file.parse_hash(stored)
    assert len(stored) < 10 or stored not in str(error.value)


@pytest.mark.parametrize("name", ["alice", "Ünïcode", "with blank", "a" * 200, "x#y", "@+/"])
def test_valid_names(name):
    assert password_file.name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a:b",
        "#a",
        " a",
        "a ",
        "a\nb",
        "a\x00",
        "a\x7f",
        "a\x85",
        "a\u2028b",
        "a\udce4",
        "\ufdd0",
        "\U0001fffe",
        "é" * 32768,
    ],
)
def test_invalid_names(name):
    assert password_file.name_problem(name)


GOOD = f"# by hand\nalice:{MOSQUITTO_2_0}\n\nbob:{MOSQUITTO_2_1}\n"


@pytest.mark.parametrize("content", ["", GOOD, f"alice:{MOSQUITTO_2_0}\n"])
def test_a_file_survives_parse_and_render(content):
    assert password_file.render(password_file.parse(content)) == content


def test_a_missing_newline_at_the_end_is_added():
    assert password_file.render(password_file.parse(GOOD.rstrip("\n"))) == GOOD


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        (f"alice:{MOSQUITTO_2_0}\nbob\n", 2, "no ':'"),
        ("alice:\n", 1, "none of"),
        (f"# x\nalice:{MOSQUITTO_2_0[:-10]}\n", 2, "hash of 'alice'"),
        (f"alice:{MOSQUITTO_2_0}\r\n", 1, "CR LF"),
        (f"\ufeffalice:{MOSQUITTO_2_0}\n", 1, "byte order mark"),
        (f"a:{MOSQUITTO_2_0}\nb:{MOSQUITTO_2_0}\na:{MOSQUITTO_2_0}\n", 3, "line 1 has the same name"),
        (f":{MOSQUITTO_2_0}\n", 1, "empty"),
    ],
)
def test_errors_of_invalid_files_name_the_line(content, line, why):
    with pytest.raises(line_file.FileError, match=why) as error:
        password_file.parse(content)
    assert error.value.line == line
    assert MOSQUITTO_2_0[10:40] not in str(error.value)


def merge(content, users, *args, **kwargs):
    lines, changes = password_file.merge(password_file.parse(content), users, *args, **kwargs)
    return password_file.render(lines), changes


def test_unchanged_passwords_change_nothing():
    content, changes = merge(GOOD, [{"name": "bob", "password": "secret"}, {"name": "alice", "password": "secret"}])
    assert content == GOOD
    assert changes == password_file.Changes()


def test_an_unchanged_hash_changes_nothing():
    content, changes = merge(GOOD, [{"name": "alice", "password_hash": MOSQUITTO_2_0}])
    assert (content, changes) == (GOOD, password_file.Changes())
    _content, changes = merge(GOOD, [{"name": "alice", "password_hash": MOSQUITTO_2_1}])
    assert changes.updated == ["alice"]


def test_a_new_password_replaces_one_line_in_place():
    content, changes = merge(GOOD, [{"name": "alice", "password": "new"}], parameters=password_file.Parameters(7))
    assert changes == password_file.Changes(updated=["alice"])
    old, new = GOOD.splitlines(), content.splitlines()
    assert [old[0], *old[2:]] == [new[0], *new[2:]]
    assert new[1].startswith("alice:$7$7$")
    assert password_file.parse(content)[1].stored.matches("new")


def test_absent_and_new_accounts():
    content, changes = merge(
        GOOD,
        [
            {"name": "alice", "state": "absent"},
            {"name": "nobody", "state": "absent"},
            {"name": "carol", "password": "c"},
        ],
    )
    assert changes == password_file.Changes(added=["carol"], removed=["alice"])
    assert [line.name for line in password_file.parse(content)] == [None, None, "bob", "carol"]


def test_prune_removes_other_accounts_and_keeps_comments():
    content, changes = merge(GOOD, [{"name": "bob", "password": "secret"}], policy=password_file.Policy(prune=True))
    assert changes == password_file.Changes(removed=["alice"])
    assert content == GOOD.replace(f"alice:{MOSQUITTO_2_0}\n", "")


def test_argon2_is_replaced_once():
    content, changes = merge(f"alice:{ARGON2}\n", [{"name": "alice", "password": "secret"}])
    assert changes.updated == ["alice"]
    assert merge(content, [{"name": "alice", "password": "secret"}]) == (content, password_file.Changes())


def test_on_create_does_not_change_existing_accounts():
    users = [
        {"name": "alice", "password": "new"},
        {"name": "bob", "password_hash": ARGON2},
        {"name": "c", "password": "c"},
    ]
    content, changes = merge(GOOD, users, policy=password_file.Policy(on_create=True))
    assert changes == password_file.Changes(added=["c"])
    assert content.startswith(GOOD)


@pytest.mark.parametrize(
    ("parameters", "rehashed"),
    [
        (password_file.Parameters(101, 12), []),
        (password_file.Parameters(102, 12), ["alice"]),
        (password_file.Parameters(101, 64), ["alice"]),
    ],
)
def test_rehash_renews_hashes_with_other_parameters(parameters, rehashed):
    old, _changes = merge("", [{"name": "alice", "password": "secret"}], password_file.Parameters(101))
    users = [{"name": "alice", "password": "secret"}]
    assert merge(old, users, parameters) == (old, password_file.Changes())
    content, changes = merge(old, users, parameters, password_file.Policy(rehash=True))
    assert changes == password_file.Changes(rehashed=rehashed)
    [line] = password_file.parse(content)
    assert line.stored.was_made_with(parameters)
    assert line.stored.matches("secret")
    assert merge(content, users, parameters, password_file.Policy(rehash=True)) == (content, password_file.Changes())


def test_rehash_replaces_other_algorithms_and_leaves_unknown_passwords():
    salt = base64.b64encode(b"twelve bytes").decode()
    digest = base64.b64encode(hashlib.sha512(b"secrettwelve bytes").digest()).decode()
    old = f"alice:$6${salt}${digest}\n"
    rehash = password_file.Policy(rehash=True)
    assert merge(old, [{"name": "alice", "password": "secret"}], policy=rehash)[1].rehashed == ["alice"]
    assert merge(old, [{"name": "alice", "password_hash": old[6:-1]}], policy=rehash)[0] == old


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"name": "a:b", "password": "p"}, "cannot have ':'"),
        ({"name": "a"}, "needs one of password, password_hash, password_file"),
        ({"name": "a", "password": "p", "password_hash": MOSQUITTO_2_0}, "give only one of"),
        ({"name": "a", "password": ""}, "empty"),
        ({"name": "a", "password": "p\0q"}, "NUL"),
        ({"name": "a", "password": "p\udce4"}, "not UTF-8"),
        ({"name": "a", "password_hash": "plain"}, "the broker would reject its password_hash"),
    ],
)
def test_user_problems_name_variable_index_and_account(user, why):
    (problem,) = password_file.user_problems([{"name": "fine", "password": "p"}, user], "things")
    assert problem.startswith(f"things[1] ({user['name']}): ")
    assert why in problem


def test_duplicate_users_name_both_places():
    (problem,) = password_file.user_problems(
        [{"name": "a", "password": "p"}, {"name": "a", "state": "absent"}], "things"
    )
    assert "things[1]" in problem
    assert "things[0]" in problem


NAMES = st.text("aZ0 é.#%$/", min_size=1, max_size=6).filter(lambda name: password_file.name_problem(name) is None)
PASSWORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
ACCOUNTS = st.dictionaries(NAMES, PASSWORDS, max_size=4)
QUICK = st.sampled_from([password_file.Parameters(1), password_file.Parameters(2, 64)])
POLICIES = st.builds(password_file.Policy, st.booleans(), st.booleans(), st.booleans())


def users_of(accounts, state="present"):
    return [{"name": name, "password": password, "state": state} for name, password in accounts.items()]


def passwords_that_work(content, *passwords):
    """The passwords that match each account of a file."""
    lines = [line for line in password_file.parse(content) if line.stored]
    return {line.name: {password for password in passwords if line.stored.matches(password)} for line in lines}


@given(accounts=ACCOUNTS, parameters=QUICK, comments=st.lists(st.sampled_from(["", "# by hand"]), max_size=2))
def test_any_accounts_survive_a_round_trip(accounts, parameters, comments):
    assert password_file.user_problems(users_of(accounts), "users") == []
    content, changes = merge("".join(f"{line}\n" for line in comments), users_of(accounts), parameters)
    assert changes == password_file.Changes(added=list(accounts))
    assert password_file.render(password_file.parse(content)) == content
    assert content.splitlines()[: len(comments)] == comments
    assert passwords_that_work(content, *accounts.values()) == {
        name: {other for other in accounts.values() if other == password} for name, password in accounts.items()
    }
    assert merge(content, users_of(accounts), parameters) == (content, password_file.Changes())


@given(old=ACCOUNTS, new=ACCOUNTS, gone=st.lists(NAMES, max_size=2), parameters=QUICK, policy=POLICIES)
def test_merging_is_correct_and_idempotent(old, new, gone, parameters, policy):
    before, _changes = merge("# by hand\n", users_of(old), password_file.Parameters(1))
    users = users_of(new) + [{"name": name, "state": "absent"} for name in set(gone) - set(new)]
    content, changes = merge(before, users, parameters, policy)
    expected = ({} if policy.prune else {name: old[name] for name in old if name not in gone}) | new
    if policy.on_create:
        expected |= {name: old[name] for name in old if name in new}
    every = {*old.values(), *new.values()}
    assert passwords_that_work(content, *every) == {name: {password} for name, password in expected.items()}
    kept = set(before.splitlines()) & set(content.splitlines())
    assert "# by hand" in kept
    assert len(kept) == 1 + len(expected) - len(changes.added) - len(changes.updated) - len(changes.rehashed)
    assert set(changes.removed) == set(old) - set(expected)
    assert merge(content, users, parameters, policy) == (content, password_file.Changes())
