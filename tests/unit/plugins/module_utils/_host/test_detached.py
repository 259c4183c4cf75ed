# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that continues after the process that started it has returned."""

from __future__ import annotations

import os
import pathlib
import secrets
import subprocess
import sys
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import detached


@pytest.fixture
def name():
    made = f"unit-{secrets.token_hex(5)}"
    yield made
    detached.end(made)


def wait_for(condition) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def running(name: str) -> list[pathlib.Path]:
    found = []
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text(encoding="utf-8").strip() == name:
                found.append(comm.parent)
        except OSError:
            pass  # it has ended
    return found


def test_the_work_continues_until_it_is_ended(name, tmp_path):
    def work(tell):
        tell("ready")
        tell("and more that nobody listens to")
        (tmp_path / "pid").write_text(f"{os.getpid()} {os.getsid(0)} {pathlib.Path.cwd()}", encoding="utf-8")
        time.sleep(60)

    assert detached.start(name, work, 5) == "ready"
    assert wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(encoding="utf-8"))
    pid, session, folder = (tmp_path / "pid").read_text(encoding="utf-8").split()
    [process] = running(name)
    assert process.name == pid != session != str(os.getsid(0))
    assert folder == "/"
    assert {str((process / f"fd/{number}").readlink()) for number in range(3)} == {"/dev/null"}
    assert detached.end(name) == 1
    assert wait_for(lambda: not running(name))
    assert detached.end(name) == 0


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda tell: tell("two\nlines"), "two lines"),
        (lambda _tell: None, "it ended without a word"),
        (lambda _tell: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _tell: time.sleep(60), "it was not ready within 0.5 seconds"),
        (lambda _tell: sys.exit("no"), "it ended without a word"),
    ],
)
def test_the_first_report_is_returned(name, work, told):
    assert detached.start(name, work, 0.5) == told


def test_the_output_of_the_first_process_is_closed():
    code = f"""
import importlib.util, time
spec = importlib.util.spec_from_file_location("detached", {detached.__file__!r})
detached = importlib.util.module_from_spec(spec)
spec.loader.exec_module(detached)
def work(tell):
    tell("ready")
    time.sleep(60)
print(detached.start("unit-waiting", work, 5))
"""
    begin = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert detached.end("unit-waiting") == 1
    assert (run.stdout, run.stderr) == ("ready\n", "")
    assert time.monotonic() - begin < 20


def test_a_setuid_program_has_other_users(tmp_path):
    (tmp_path / "status").write_text("Name:\tsu\nUid:\t65534\t0\t0\t0\n", encoding="utf-8")
    assert detached._users(tmp_path) == {"65534", "0"}
