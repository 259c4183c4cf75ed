# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client: a program with many subscribers and a publisher, which follows commands."""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t

import hosts
from measure import BENCH, BenchError

from fanout.cases import CONNECT_SECONDS
from fanout.contenders import Contender
from fanout.search import Trial
from fanout.site import FIRST_SOURCE, Site

PROCESSES = BENCH / "fanout/processes.py"


def processes(contender: Contender) -> dict[str, dict[str, float]]:
    """CPU, memory, and peak memory since the last call of the contender's processes, by name."""
    program = PROCESSES.read_text(encoding="utf-8")
    return json.loads(hosts.in_container(contender.host, "python3", "-c", program, *contender.processes))


class Load:
    """Connected subscribers, with a publisher."""

    def __init__(self, site: Site, contender: Contender, transport: str, subscribers: int) -> None:
        self._contender = contender
        publisher = hosts.address(contender.publish_at)
        ports = ",".join(map(str, contender.ports(transport)))
        where = [hosts.address(contender.host), ports, transport, str(subscribers), str(CONNECT_SECONDS), FIRST_SOURCE]
        command = ["docker", "exec", "--interactive", hosts.container("client"), "load", *where]
        command += [publisher, str(contender.publish_port), *site.login(contender)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        found = self._answer()
        self.subscribed, self.seconds = found["subscribed"], found["seconds"]

    def __enter__(self) -> Load:
        return self

    def __exit__(self, problem: object, *_about: object) -> None:
        if problem:
            self._process.kill()
        # It ends when there is nothing more to do.
        self._process.communicate()

    def _answer(self) -> dict[str, t.Any]:
        line = t.cast("t.TextIO", self._process.stdout).readline()
        if not line:
            raise BenchError(f"{self._contender.name}: the client has ended")
        return json.loads(line)

    def run(self, events: int, rate: float, size: int) -> Trial:
        """Publish events at a rate, or all at once, and wait until they have arrived or are lost."""
        before = processes(self._contender)
        orders = t.cast("t.TextIO", self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it has reported the reason, and will not answer
            print(events, rate, size, file=orders, flush=True)
        found = self._answer()
        after = processes(self._contender)
        # After a long pause systemd may have restarted a process.
        cpu = {name: max(after[name]["cpu"] - before.get(name, {}).get("cpu", 0), 0) for name in after}
        return Trial(events=events, cpu=cpu, peak=sum(process["peak"] for process in after.values()), **found)
