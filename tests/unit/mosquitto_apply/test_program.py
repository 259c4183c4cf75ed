# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command as the role installs it has all that it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from ansible_collections.opendev.firehose.plugins.plugin_utils import _zipapp

ROLE = Path(__file__).parents[3] / "roles/mosquitto"


def test_it_starts(tmp_path):
    tasks = yaml.safe_load((ROLE / "tasks/configure.yml").read_text(encoding="utf-8"))
    [options] = [task["opendev.firehose.zipapp"] for task in tasks if "opendev.firehose.zipapp" in task]
    program = tmp_path / "mosquitto-apply"
    folder = ROLE / "files" / options["src"]
    program.write_bytes(_zipapp.build(folder, options["main"], "/usr/bin/python3", options["module_utils"]))
    # Nothing but the standard library is within its reach.
    run = subprocess.run([sys.executable, "-I", "-S", program, "--help"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "usage: mosquitto-apply" in run.stdout
