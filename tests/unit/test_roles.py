# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables in three places is the same: argument specs, defaults, README."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools/role-tables"


def is_one_entry_point_of_them(options: dict, main: dict) -> bool:
    """An entry point that only looks takes the main one's variables; others take one of their own."""
    return options == main or (len(options) == 1 and not set(options) & set(main))


@pytest.mark.parametrize("name", ["firehose", "germqtt", "mosquitto"])
def test_variables(roles, name):
    role = roles[name]
    assert {key: option["default"] for key, option in role.options.items() if "default" in option} == role.defaults
    assert all(is_one_entry_point_of_them(spec["options"], role.options) for spec in role.specs.values())
    assert all(key.startswith(f"{name}_") for spec in role.specs.values() for key in spec["options"])


def test_readmes_are_as_make_docs_writes_them(roles):
    """It would write the tables of variables from the specs."""
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
    assert all("| `" in role.readme for role in roles.values())


def test_all_roles_are_looked_at(roles):
    assert sorted(roles) == ["firehose", "germqtt", "mosquitto"]
