# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run other programs, and make their output printable."""

from __future__ import annotations

import os
import subprocess


def run(*command: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Its output need not be UTF-8: log lines and process names can be chosen by other users."""
    result = subprocess.run(
        command, check=False, capture_output=True, timeout=timeout, env={**os.environ, "LC_ALL": "C"}
    )
    output, error = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    return subprocess.CompletedProcess(command, result.returncode, output, error)


def printable(text: str) -> str:
    """A text without characters that a terminal would interpret, except line feeds."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
