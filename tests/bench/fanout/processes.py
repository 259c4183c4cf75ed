# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPU and memory use of processes, as JSON. Runs on the host of the processes.

usage: python3 processes.py NAME...
"""

import json
import pathlib
import re
import sys


def number(text: str, name: str) -> int:
    """A line of a file below /proc, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


totals: dict[str, dict[str, float]] = {}
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        name = (process / "comm").read_text(encoding="utf-8").strip()
        if name not in sys.argv[1:]:
            continue
        # The same as in "stat", but in nanoseconds instead of hundredths of a second.
        cpu = sum(int(path.read_text(encoding="utf-8").split()[0]) for path in process.glob("task/*/schedstat")) / 1e9
        memory = number((process / "smaps_rollup").read_text(encoding="utf-8"), "Pss")
        peak = number((process / "status").read_text(encoding="utf-8"), "VmHWM")
        # Reset the peak, so that the next one is since now.
        (process / "clear_refs").write_text("5", encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        continue
    total = totals.setdefault(name, {"cpu": 0, "memory": 0, "peak": 0})
    for key, value in (("cpu", cpu), ("memory", memory), ("peak", peak)):
        total[key] += value
print(json.dumps(totals))
