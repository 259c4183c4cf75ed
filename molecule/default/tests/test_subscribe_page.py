# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/subscribe.md do what it says, as they stand there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import typing as t

import pytest
from firehose_testing.clients import ca_file
from firehose_testing.documents import HOST, example, examples
from firehose_testing.fixtures import MQTTJS, Firehoses
from firehose_testing.gerrit import OWN_PROJECT, Gerrit

PAGE = "docs/subscribe.md"
PROGRAM, *VARIANTS = examples(PAGE, "python")
# The scenario site runs the one with an account, which needs port 8884.
COMMANDS = re.findall(rf"^mosquitto_sub -h {HOST} (?!.* -u ).*$", "".join(examples(PAGE, "shell")), re.MULTILINE)
[SCRIPT] = re.findall(r"<script>\n(.*?)</script>", example(PAGE, "html", "mqtt.connect"), re.DOTALL)
# As much of a page as the script uses. It prints what a browser shows.
BROWSER = """
globalThis.mqtt = require("mqtt");
const list = {prepend(item) { console.log(item.textContent); }, childElementCount: 1};
globalThis.document = {createElement: () => ({}), getElementById: () => list};
"""


def variant(lines: str) -> str:
    """The first program with the lines of another example in place of those that start alike, or before it connects."""
    program = PROGRAM
    for line in lines.splitlines():
        start = re.escape(line[: line.index("(") + 1])
        program, count = re.subn(rf"^{start}.*$", line, program, flags=re.MULTILINE)
        if not count:
            program, count = re.subn(r"^client\.connect\(", f"{line}\n\\g<0>", program, flags=re.MULTILINE)
        assert count == 1, line
    return program


def prints_events(gerrit: Gerrit, command: t.Sequence[str]) -> None:
    """Run a program that trusts the tests' CA as it would trust the system's, until it has printed an event."""
    environment = os.environ | {"SSL_CERT_FILE": ca_file(), "NODE_PATH": str(MQTTJS / "node_modules")}
    # Node is started by a program of its own: both end by a signal to their group.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
        reading.start()
        try:
            wanted = re.compile(rf"gerrit/{OWN_PROJECT}/\d+/comment-added:? (comment-added|\{{.*\}})\n")
            assert gerrit.mark_until(lambda: any(wanted.fullmatch(line) for line in lines)), lines
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            reading.join()


@pytest.mark.parametrize("program", [PROGRAM, *map(variant, VARIANTS)], ids=["tcp", "websockets", "mqtt5-wss"])
def test_python_example_prints_events(firehoses: Firehoses, gerrit: Gerrit, name: str, program: str) -> None:
    prints_events(gerrit, [sys.executable, "-u", "-c", program.replace(HOST, firehoses[name].address)])


@pytest.mark.usefixtures("clients")  # they install MQTT.js
def test_script_of_the_page_shows_events(firehoses: Firehoses, gerrit: Gerrit, name: str) -> None:
    prints_events(gerrit, ["node", "-e", BROWSER + SCRIPT.replace(HOST, firehoses[name].address)])


@pytest.mark.parametrize("command", COMMANDS, ids=["tcp", "tls"])
def test_mosquitto_sub_example_prints_events(
    firehoses: Firehoses, gerrit: Gerrit, name: str, subscriber: str, command: str
) -> None:
    trusted = "/srv/ca.pem"
    subprocess.run(["docker", "cp", ca_file(), f"{subscriber}:{trusted}"], check=True)
    # A signal to `docker exec` would not reach into the container.
    inside = f"SSL_CERT_FILE={trusted} timeout 60 stdbuf -oL {command.replace(HOST, firehoses[name].address)}"
    prints_events(gerrit, ["docker", "exec", subscriber, "sh", "-c", inside])


def test_every_example_is_run() -> None:
    assert (len(VARIANTS), len(COMMANDS)) == (2, 2)
