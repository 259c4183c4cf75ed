# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the target's host: the memory of its services, and whether their processes are still the same."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import threading
import time

from . import report

EVERY = 0.1


def main_process(service: str) -> int:
    command = ["systemctl", "show", "--property", "MainPID", "--value", service]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def cpu(process: int) -> float:
    """The CPU seconds that a process and its children have used."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu(int(child)) for child in children)


def memory(process: int) -> int | None:
    """The resident memory in KiB, including children, or None if the process does not exist any more."""
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        # HAProxy serves in a child process.
        children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) + sum(memory(int(child)) or 0 for child in children) if found else None


def observe(services: list[str]) -> None:
    """Report for ever."""
    processes = {service: main_process(service) for service in services}
    while True:
        peaks = dict.fromkeys(services, 0)
        for _time in range(5):
            for service, process in processes.items():
                now = memory(process)
                if now is None:
                    processes[service] = main_process(service)
                    if processes[service]:
                        report.tell("restarted", service=service)
                peaks[service] = max(peaks[service], now or 0)
            time.sleep(EVERY)
        report.tell("memory", peaks=peaks, cpu=sum(cpu(process) for process in processes.values() if process))


def main() -> None:
    threading.Thread(target=observe, args=(report.told()["target"]["services"],), daemon=True).start()
    report.ended()


if __name__ == "__main__":
    main()
