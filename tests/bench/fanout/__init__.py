# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fan-out of brokers to many subscribers: stock Mosquitto, this collection's core and edge hosts, and the theoretical limit."""

from __future__ import annotations

import collections
import pathlib
import time

import hosts
from measure import say

from fanout import cases, contenders
from fanout.report import report
from fanout.sample import Sample, Samples, in_short, sample
from fanout.site import Site

__all__ = ["measure", "report"]


def measure(folder: pathlib.Path, turns: int) -> Samples:
    """Measure all contenders in turn in each case, a case without a target only once."""
    wanted = cases.selected([each.name for each in cases.ALL], "FANOUT_CASES")
    names = cases.selected([each.name for each in contenders.ALL], "FANOUT_CONTENDERS")
    field = [each for each in contenders.ALL if each.name in names]
    site = Site(folder, field)
    samples: dict[tuple[str, str], list[Sample]] = collections.defaultdict(list)
    with hosts.containers(site.names, gerrit=False):
        site.prepare()
        for turn in range(turns):
            for case in cases.ALL:
                for contender in field if case.name in wanted and (case.repeated or turn == 0) else ():
                    if not contender.ports(case.transport):
                        continue
                    start = time.monotonic()
                    found = sample(site, contender, case)
                    samples[contender.name, case.name].append(found)
                    took = f"{time.monotonic() - start:.0f} s"
                    say(f"{turn + 1} of {turns}: {case.what}: {contender.what.strip()}: {in_short(found)} ({took})")
        site.wake(site.names)
    return samples
