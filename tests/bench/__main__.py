# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure, and print the results: `python tests/bench converge|fanout|germqtt`. BENCH_RUNS is the number of runs of each."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import tempfile

import converge
import fanout
import germqtt
import users
from measure import BenchError, say


def main() -> None:
    """Print the tables. A missed target is a result, a failed play is an error."""
    [what] = sys.argv[1:]
    runs = os.environ.get("BENCH_RUNS") or {"converge": "5", "fanout": "3", "germqtt": "3"}[what]
    if not runs.isdecimal() or int(runs) < 1:
        raise BenchError(f"BENCH_RUNS must be a positive number, not {runs!r}")
    # Containers and files are removed at the end.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit("ended by a signal"))
    with tempfile.TemporaryDirectory(prefix="opendev-firehose-bench-") as name:
        folder = pathlib.Path(name)
        if what == "germqtt":
            print(f"\n{germqtt.report(germqtt.measure(folder, int(runs)))}")
            return
        if what == "fanout":
            print(f"\n{fanout.report(fanout.measure(folder, int(runs)))}")
            return
        print(users.report(folder), flush=True)
        say(f"plays: a first run, one to warm up, {runs} re-runs")
        print(f"\n{converge.report(converge.measure(folder, int(runs)))}")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
