# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fan-out benchmark finds rates and formats its tables."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "tests/bench"


def load(name):
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module(f"fanout.{name}")
    finally:
        sys.path.remove(str(BENCH))


cases, contenders, report, sample, search = map(load, ("cases", "contenders", "report", "sample", "search"))


def trial(rate=1000.0, received=200, events=2, **others):
    """Events to 100 subscribers, with the number of deliveries, and the rate per second."""
    usual = {"disordered": 0, "cut": 0, "acknowledged": events, "published": 0.1, "p50": 1.0, "p99": 2.0}
    used = {"cpu": {"mosquitto": 0.004}, "client_cpu": 0.01, "peak": 2**20}
    times = {"first": 0.5, "last": 0.5 + received / rate}
    return search.Trial(events=events, expected=events * 100, received=received, **{**usual, **used, **times, **others})


def test_without_a_loss_the_first_attempt_is_the_result():
    first = trial()
    assert search.highest_lossless(first, pytest.fail, 5) is first


@pytest.mark.parametrize("bearable", [3.0, 7.0, 9.4, 10.0])
def test_after_a_loss_slower_attempts_find_the_highest_rate(bearable):
    offered = []

    def attempt(rate):
        offered.append(rate)
        return trial(rate=rate * 100, received=200 if rate <= bearable else 190)

    best = search.highest_lossless(trial(received=150), attempt, 5)
    assert len(offered) <= 5
    assert best.lossless
    assert bearable * 0.8 <= best.rate / 100 <= bearable


def test_there_is_no_rate_without_deliveries():
    assert search.highest_lossless(trial(received=0, last=0.5), pytest.fail, 5) is None


@pytest.mark.parametrize("problem", [{"received": 199}, {"disordered": 1}, {"cut": 1}])
def test_losses(problem):
    assert not trial(**problem).lossless


def a_sample(rate, memory=2**20):
    one = trial(rate=rate)
    paced = dict.fromkeys(cases.PACED, one)
    return sample.Sample(100, 0.5, memory, memory * 2, memory * 3, paced, one, one, one)


def test_tables_have_only_measured_contenders(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    found = {("stock", "100"): [a_sample(1000.0)] * 3, ("edge", "100"): [a_sample(3600.0)] * 3}
    text = report.report(found)
    assert "100 x 1 KB: burst of 2000" in text
    [row] = [line for line in text.splitlines() if line.startswith("edge host / stock, lossless, 100")]
    assert row.split()[-7:] == ["3.60", "to", "3.60", "at", "least", "2.5", "met"]
    assert "1000 x 1 KB" not in text


def test_the_table_names_contenders_that_accept_too_slowly():
    slow = {("core", "1000-websockets"): [sample.Sample(subscribed=240, seconds=30.0)]}
    assert "not measured: accepts 8 a second" in report.report(slow)


def test_a_selection_must_have_known_names(monkeypatch):
    monkeypatch.setenv("FANOUT_CASES", "100 1")
    assert cases.selected(["1", "100", "1000"], "FANOUT_CASES") == ["1", "100"]
    monkeypatch.setenv("FANOUT_CASES", "2")
    with pytest.raises(Exception, match="FANOUT_CASES must have names of"):
        cases.selected(["1"], "FANOUT_CASES")
