# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The single-file program that the role builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from ansible_collections.opendev.firehose.plugins.plugin_utils import _zipapp

ROLE = Path(__file__).parents[3] / "roles/mosquitto"


def test_the_program_contains_all_imported_modules(tmp_path):
    [block] = yaml.safe_load((ROLE / "tasks/configure.yml").read_text(encoding="utf-8"))
    [options] = [task["opendev.firehose.zipapp"] for task in block["block"] if "opendev.firehose.zipapp" in task]
    program = tmp_path / "mosquitto-apply"
    program.write_bytes(
        _zipapp.build(ROLE / "files" / options["src"], options["main"], sys.executable, options["module_utils"])
    )
    # Isolated, so that it does not find this checkout.
    run = subprocess.run([sys.executable, "-I", "-S", program, "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "mosquitto-apply" in run.stdout
