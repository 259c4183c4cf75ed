# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker instances of a host."""

from __future__ import annotations

import pytest
from mosquitto_apply.instance import Instance, every
from mosquitto_apply.problem import Problem


def test_only_brokers_with_sets_are_found(tmp_path):
    others = ("mosquitto.bak", "mosquitto-2.1.0", "mosquittofoo", "mosquitto-")
    for name in ("mosquitto", "mosquitto-relay", "mosquitto-public", *others):
        (tmp_path / name / "sets").mkdir(parents=True)
    (tmp_path / "mosquitto-unused").mkdir()
    assert every(tmp_path) == [Instance(""), Instance("public"), Instance("relay")]


def test_each_instance_has_its_own_user():
    longest = Instance("a" * 22)
    assert [Instance("").user, Instance("public").user] == ["mosquitto", "mosquitto-public"]
    assert len(longest.user) == 32  # the maximum on Linux


@pytest.mark.parametrize("name", ["a/b", "A", "a-b", ".", "a" * 23])
def test_an_unsafe_instance_name_is_rejected(name):
    with pytest.raises(Problem, match="no name of an instance"):
        Instance(name)
