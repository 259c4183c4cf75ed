# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output and the duration of other programs."""

from __future__ import annotations

import subprocess

import pytest
from mosquitto_apply import command, service
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem


def test_output_can_have_any_bytes():
    """A carriage return does not begin a line: a status text could forge a property with it."""
    result = command.run("printf", r"\377 a\rMainPID=1\n")
    assert (result.returncode, result.stdout) == (0, "\ufffd a\rMainPID=1\n")


def test_control_characters_are_replaced():
    assert command.printable("port 80: \x1b[2Jnginx\r, PID 7\nä") == "port 80: \ufffd[2Jnginx\ufffd, PID 7\nä"


@pytest.mark.parametrize("hangs", [0, 1, 2])
def test_a_broker_that_does_not_stop_is_killed(monkeypatch, hangs):
    told = []

    def run(*words, timeout=None):
        told.append(words[1])
        if words[1] == "restart" and told.count("restart") <= hangs:
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(command, "run", run)
    broker = service.Service(Instance())
    if hangs == 2:
        with pytest.raises(Problem, match=r"mosquitto\.service did not restart within 2000 s"):
            broker.restart()
    else:
        broker.restart()
    assert told == ["daemon-reload", "restart", "kill", "restart"][: 2 if not hangs else 4]
