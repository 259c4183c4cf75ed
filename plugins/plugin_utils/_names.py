# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Variables that no role reads, although their names begin like those of a role."""

from __future__ import annotations

import difflib
import functools
import typing as t
from pathlib import Path

from ansible.module_utils.common.yaml import yaml_load

ROLES = Path(__file__).parents[2] / "roles"
# The variables that the collection's playbook reads.
PLAYBOOK = frozenset({"firehose_edges_at_a_time"})
# The variables of role firehose_public that other roles read.
OUTPUTS = frozenset({"firehose_public_earlier", "firehose_public_names", "firehose_public_unprivileged_port"})


@functools.lru_cache
def _entry_points(role: str) -> dict[str, t.Any]:
    """A role's argument specs by entry point."""
    return yaml_load((ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]


def options(role: str, entry_point: str) -> dict[str, t.Mapping[str, t.Any]]:
    """The options of one entry point."""
    return _entry_points(role)[entry_point].get("options", {})


@functools.lru_cache(maxsize=1)
def _all_options() -> dict[str, t.Mapping[str, t.Any]]:
    """The options of all entry points of all roles."""
    return {
        name: option
        for role in sorted(path.name for path in ROLES.iterdir())
        for entry_point in _entry_points(role)
        for name, option in options(role, entry_point).items()
    }


def unknown_warnings(names: t.Iterable[str]) -> list[str]:
    """One line for each name that no role has, with the nearest one that a role has."""
    known = PLAYBOOK | OUTPUTS | _all_options().keys()
    found = []
    for name in sorted(set(names) - known):
        nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
        remedy = f"Did you mean {nearest[0]}?" if nearest else "If it is your own, give it another prefix."
        found.append(f"{name}: no role of opendev.firehose reads this variable. {remedy}")
    return found


def replaced_warnings(values: t.Mapping[str, t.Any], replacements: t.Mapping[str, str]) -> list[str]:
    """One line for each variable that a role sets itself for another role. A variable with the other role's default is fine."""
    return [
        f"{name}: role firehose sets this variable itself, so that yours does nothing. {replacements[name]}"
        for name, value in sorted(values.items())
        if value != _all_options()[name].get("default")
    ]
