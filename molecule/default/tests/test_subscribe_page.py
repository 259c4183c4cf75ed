# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/subscribe.md do what it says, as they stand there."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import threading

import pytest
from firehose_testing.fixtures import Firehoses
from firehose_testing.gerrit import OWN_PROJECT, Gerrit

PAGE = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], "docs/subscribe.md").read_text(encoding="utf-8")
HOST = "firehose01.example.org"
OVER_TCP, OVER_WEBSOCKETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def over_websockets() -> str:
    """The first program with the lines of the second in place of those that start alike."""
    program = OVER_TCP
    for line in OVER_WEBSOCKETS.splitlines():
        start = re.escape(line[: line.index("(") + 1])
        program, count = re.subn(rf"^{start}.*$", line, program, flags=re.MULTILINE)
        assert count == 1, line
    return program


@pytest.mark.parametrize("program", [OVER_TCP, over_websockets()], ids=["tcp", "websockets"])
def test_python_example_prints_events(firehoses: Firehoses, gerrit: Gerrit, name: str, program: str) -> None:
    command = [sys.executable, "-u", "-c", program.replace(HOST, firehoses[name].address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
        reading.start()
        try:
            wanted = re.compile(rf"gerrit/{OWN_PROJECT}/\d+/comment-added comment-added\n")
            assert gerrit.mark_until(lambda: any(wanted.fullmatch(line) for line in lines)), lines
        finally:
            running.kill()
            reading.join()


def test_mosquitto_sub_example_prints_events(firehoses: Firehoses, gerrit: Gerrit, name: str, subscriber: str) -> None:
    [example] = re.findall(rf"^mosquitto_sub -h {HOST} .*$", PAGE, re.MULTILINE)
    command = f"timeout 60 {example.replace(HOST, firehoses[name].address)} -C 1"
    with subprocess.Popen(
        ["docker", "exec", subscriber, "sh", "-c", command], stdout=subprocess.PIPE, text=True
    ) as run:
        assert gerrit.mark_until(lambda: run.poll() is not None)
        assert run.stdout
        assert run.stdout.read().startswith("gerrit/")
