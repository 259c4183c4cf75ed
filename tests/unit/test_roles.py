# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role says of its variables in three places is the same: argument specs, defaults, README."""

from __future__ import annotations

import pytest


def names(options: dict, prefix: str = ""):
    for name, option in options.items():
        yield f"{prefix}{name}"
        yield from names(option.get("options", {}), f"{prefix}{name}{'[]' if option['type'] == 'list' else ''}.")


@pytest.mark.parametrize("name", ["firehose", "germqtt", "mosquitto"])
def test_variables(roles, name):
    role = roles[name]
    assert {key: option["default"] for key, option in role.options.items() if "default" in option} == role.defaults
    assert all(spec["options"] == role.options for spec in role.specs.values())
    assert all(key.startswith(f"{name}_") for key in role.options)
    assert [key for key in names(role.options) if f"| `{key}` |" not in role.readme] == []


def test_all_roles_are_looked_at(roles):
    assert sorted(roles) == ["firehose", "germqtt", "mosquitto"]
