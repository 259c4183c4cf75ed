# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which brokers a host has."""

from __future__ import annotations

import pytest
from mosquitto_apply.instance import Instance, every
from mosquitto_apply.problem import Problem


def test_every_broker_that_was_given_a_set_and_no_other(tmp_path):
    others = ("mosquitto.bak", "mosquitto-2.1.0", "mosquittofoo", "mosquitto-")
    for name in ("mosquitto", "mosquitto-relay", "mosquitto-public", *others):
        (tmp_path / name / "sets").mkdir(parents=True)
    (tmp_path / "mosquitto-unused").mkdir()
    assert every(tmp_path) == [Instance(""), Instance("public"), Instance("relay")]


def test_each_instance_has_a_user_of_its_own():
    longest = Instance("a" * 22)
    assert [Instance("").user, Instance("public").user] == ["mosquitto", "mosquitto-public"]
    assert len(longest.user) == 32  # what Linux allows


@pytest.mark.parametrize("name", ["a/b", "A", "a-b", ".", "a" * 23])
def test_a_name_that_could_lead_elsewhere_is_none(name):
    with pytest.raises(Problem, match="no name of an instance"):
        Instance(name)
