# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure plays and a module, and print what they take. BENCH_RUNS says how many re-runs of each play."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import tempfile

import converge
import users
from measure import BenchError, say


def main() -> None:
    """Print the tables. A target that is missed is a result, a play that fails is an error."""
    again = os.environ.get("BENCH_RUNS") or "5"
    if not again.isdecimal() or int(again) < 1:
        raise BenchError(f"BENCH_RUNS must be a positive number, not {again!r}")
    # Containers and files are removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit("ended by a signal"))
    with tempfile.TemporaryDirectory(prefix="opendev-firehose-bench-") as folder:
        print(users.report(pathlib.Path(folder)), flush=True)
        say(f"plays: a first run, one to warm up, {again} re-runs")
        print(f"\n{converge.report(converge.measure(pathlib.Path(folder), int(again)))}")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
