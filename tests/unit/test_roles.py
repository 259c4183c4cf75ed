# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a role says of its variables in three places is the same: argument specs, defaults, README."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def names(options: dict, prefix: str = ""):
    for name, option in options.items():
        yield f"{prefix}{name}"
        yield from names(option.get("options", {}), f"{prefix}{name}{'[]' if option['type'] == 'list' else ''}.")


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_variables(role):
    specs = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    options = specs["main"]["options"]
    defaults = load(ROLES / role / "defaults/main.yml")
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults
    assert all(spec["options"] == options for spec in specs.values())
    assert all(name.startswith(f"{role}_") for name in options)
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    assert [name for name in names(options) if f"| `{name}` |" not in readme] == []
