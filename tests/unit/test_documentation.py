# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins is complete, and agrees with meta/runtime.yml."""

from __future__ import annotations

import ast
import importlib
import re
import typing as t
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).parents[2]
FRAGMENTS = "ansible_collections.opendev.firehose.plugins.doc_fragments"
PLUGINS = {
    f"{path.parent.name}/{path.stem}": path
    for kind in ("filter", "modules")
    for path in COLLECTION.glob(f"plugins/{kind}/*.py")
}
MODULES = {path.stem: path for path in PLUGINS.values() if path.parent.name == "modules"}


def texts(path: Path) -> dict[str, t.Any]:
    """The YAML in DOCUMENTATION, EXAMPLES and RETURN of a plugin."""
    assigned = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    wanted = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    return {
        n.targets[0].id: yaml.safe_load(n.value.value) for n in assigned if getattr(n.targets[0], "id", None) in wanted
    }


def fragment(name: str) -> dict[str, t.Any]:
    """The fragment opendev.firehose.FILE or opendev.firehose.FILE.PART."""
    file, _dot, part = name.removeprefix("opendev.firehose.").partition(".")
    found = importlib.import_module(f"{FRAGMENTS}.{file}").ModuleDocFragment
    return yaml.safe_load(getattr(found, part.upper() or "DOCUMENTATION"))


def documented_groups(path: Path) -> set[str]:
    """The action groups in the documentation of a module, or of a fragment that it uses."""
    docs = texts(path)["DOCUMENTATION"]
    names = [name for name in docs.get("extends_documentation_fragment", []) if name.startswith("opendev.firehose.")]
    attributes = [part.get("attributes", {}).get("action_group", {}) for part in (docs, *map(fragment, names))]
    return {group for attribute in attributes for group in attribute.get("membership", [])}


@pytest.fixture(scope="module")
def groups() -> dict[str, list[str]]:
    return yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8")).get("action_groups", {})


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_documentation_is_complete(plugin):
    kind, name = plugin.split("/")
    found = texts(PLUGINS[plugin])
    assert found["DOCUMENTATION"]["module" if kind == "modules" else "name"] == name
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["DOCUMENTATION"]["version_added"])
    assert found["RETURN"]
    assert f"opendev.firehose.{name}" in str(found["EXAMPLES"])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_action_groups_agree_with_the_documentation(groups, module):
    listed = {f"opendev.firehose.{group}" for group, members in groups.items() if module in members}
    assert {group for group in documented_groups(MODULES[module]) if group.startswith("opendev.")} == listed


def test_action_groups_have_no_other_members(groups):
    assert [(group, name) for group, members in groups.items() for name in members if name not in MODULES] == []


def test_all_kinds_of_plugins_are_checked():
    """Other kinds of plugins must be added here."""
    kinds = {path.parent.name for path in COLLECTION.glob("plugins/*/*.py")}
    assert kinds == {"action", "doc_fragments", "filter", "modules", "plugin_utils"}
