# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounting of the scenario faults is correct."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "molecule/shared/firehose_testing/accounting.py"
spec = importlib.util.spec_from_file_location("accounting", PATH)
accounting = sys.modules["accounting"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(accounting)

CREATED = [100, 100, 101, 102, 103, 103]


def account(numbers, gaps=(), stored=6, acknowledged=6, topic=lambda number: "one"):
    received = [accounting.Received(float(place), topic(number), number) for place, number in enumerate(numbers)]
    return accounting.make_account(CREATED, received, gaps, stored, acknowledged)


def test_all_events_arrived():
    found = account(range(6))
    assert (found.received, found.duplicates, found.in_gaps, found.lost_by_broker, found.uncovered) == (6, 0, 0, 0, 0)
    assert found.silence == 1.0
    assert found.disordered == []


@pytest.mark.parametrize(
    ("gaps", "in_gaps", "uncovered"),
    [
        ([], 0, 2),
        ([(101, 101)], 1, 1),
        ([(101, 102)], 2, 0),
        ([(90, 101), (102, 110)], 2, 0),
        ([(103, 110)], 0, 2),
    ],
)
def test_missing_events_are_in_a_gap_or_uncovered(gaps, in_gaps, uncovered):
    found = account([0, 1, 4, 5], gaps, 4, 4)
    assert (found.in_gaps, found.uncovered) == (in_gaps, uncovered)


def test_missing_acknowledged_events_are_lost_by_the_broker():
    found = account([0, 1, 4, 5])
    assert (found.lost_by_broker, found.uncovered) == (2, 0)


@pytest.mark.parametrize(
    ("numbers", "duplicates", "disordered"),
    [
        ([0, 1, 2, 1, 2, 3, 4, 5], 2, []),
        ([0, 2, 1, 3, 4, 5], 0, ["one"]),
        ([1, 0, 0, 2, 3, 4, 5], 1, ["one"]),
        ([0, 1, 2, 3, 1, 3, 4, 5], 2, ["one"]),
        ([0, 1, 2, 3, 2, 1, 2, 3, 4, 5], 4, []),
        ([0, 1, 2, 3, 1, 2, 4, 5], 2, ["one"]),
        ([0, 3, 3, 4, 5], 1, []),
    ],
)
def test_repeated_events_are_accepted_and_late_events_are_not(numbers, duplicates, disordered):
    found = account(numbers)
    assert (found.duplicates, found.disordered) == (duplicates, disordered)


def test_each_topic_has_its_own_order():
    assert account([1, 0, 3, 2, 5, 4], topic=lambda number: str(number % 2)).disordered == []


@pytest.mark.parametrize(("numbers", "reach"), [(range(6), 0), ([0, 1, 2, 1, 2, 3, 4, 2, 3, 4, 5], 2), ([0, 1, 1], 0)])
def test_the_reach_of_repeated_events(numbers, reach):
    assert account(numbers).reach == reach
