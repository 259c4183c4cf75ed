# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which brokers a host has."""

from __future__ import annotations

import pytest
from mosquitto_apply.instance import Instance, every
from mosquitto_apply.problem import Problem


def test_every_broker_that_was_given_a_set_and_no_other(tmp_path):
    for name in ("mosquitto", "mosquitto-relay", "mosquitto-public"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "live").symlink_to("sets/any")
    (tmp_path / "mosquitto-unused").mkdir()
    assert every(tmp_path) == [Instance(""), Instance("public"), Instance("relay")]


@pytest.mark.parametrize("name", ["a/b", "A", "a-b", "."])
def test_a_name_that_could_lead_elsewhere_is_none(name):
    with pytest.raises(Problem, match="no name of an instance"):
        Instance(name)
