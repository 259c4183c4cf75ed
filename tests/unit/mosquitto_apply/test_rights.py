# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access that the files allow to clients."""

from __future__ import annotations

import pytest
from mosquitto_apply import rights, sets
from mosquitto_apply.problem import Problem

HASH = (
    "$7$1000$bm90IGEgc2VjcmV0$d5fheKbpBlau1cYFz5p30mVlZAJiYKX/KUHbdRDfFnd7pVphfwvvv9+8kvsmFVfwquCYneCx7CqvN52ywvGnwg=="
)


@pytest.fixture
def read(instance):
    """Read the access rights of some files."""

    def with_files(acl="", passwd=""):
        (instance.folder / "acl").write_text(acl, encoding="utf-8")
        (instance.folder / "passwd").write_text(passwd, encoding="utf-8")
        return rights.read(sets.find(instance))

    return with_files


@pytest.mark.parametrize(
    ("acl", "lets"),
    [("", False), ("topic read #\n", False), ("topic write #\n", False), ("topic readwrite #\n", True)],
)
def test_topics_on_which_anonymous_clients_can_relay_messages(read, acl, lets):
    assert read(acl).lets_anonymous_pass_on("a/b") is lets


def test_without_acl_rules_every_access_is_allowed(instance):
    text = "".join(
        line for line in instance.config.read_text(encoding="utf-8").splitlines(keepends=True) if "acl" not in line
    )
    instance.config.write_text(text, encoding="utf-8")
    assert rights.read(sets.find(instance)).lets_anonymous_pass_on("a/b")


def test_the_account_for_the_login_check(read):
    accounts = f"reader:{HASH}\nwriter:{HASH}\n{'x' * 100}:{HASH}\n"
    assert read("user reader\ntopic read #\nuser writer\ntopic write a/#\n", accounts).publisher == "writer"
    assert read("", accounts).publisher == "reader"
    assert read().publisher is None


@pytest.mark.parametrize(("name", "line"), [("acl", "topics read #"), ("passwd", "zuul:secret"), ("passwd", "zuul")])
def test_an_invalid_line_is_named_and_not_quoted(read, instance, name, line):
    with pytest.raises(Problem) as raised:
        read(**{name: f"# a comment\n{line}\n"})
    assert str(raised.value).startswith(f"{instance.folder / name}, line 2: ")
    assert "secret" not in str(raised.value)
