# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents: links have targets, variables exist, examples can be parsed, and no line is too long."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).parents[2]
DOCUMENTS = sorted([*COLLECTION.glob("*.md"), *COLLECTION.glob("docs/*.md"), *COLLECTION.glob("roles/*/README.md")])
WITHOUT_ROLES = [path for path in DOCUMENTS if path.name != "README.md" or path.parent == COLLECTION]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NOT_VARIABLES = {
    *("firehose_edges", "firehose_public", "firehose_testing"),  # a group, a role, a package
    *("mosquitto_db_dump", "mosquitto_passwd", "mosquitto_pub", "mosquitto_sub"),  # Mosquitto's programs
    *("mosquitto_autosave_interval", "mosquitto_users_prune"),  # removed: docs/operate.md names them for an upgrade
}


def ids(path: Path) -> str:
    return str(path.relative_to(COLLECTION))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    return FENCE.sub("", text(path))


def anchor(heading: str) -> str:
    """The anchor of a heading, as on code forges."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)}


@pytest.fixture(scope="module")
def variables(roles: dict[str, t.Any]) -> set[str]:
    """All public variables of the roles and playbooks, and filters and modules with the same prefixes."""
    found = {path.stem for path in COLLECTION.glob("plugins/*/*.py")}
    found |= {name for role in roles.values() for spec in role.specs.values() for name in spec["options"]}
    for path in COLLECTION.glob("playbooks/*.yml"):
        found |= set(re.findall(r"\bfirehose_[a-z_]+", text(path)))
    return found


def broken_links(path: Path) -> t.Iterator[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path)) + re.findall(r"^\[[^\]]+\]: (\S+)$", text(path), re.MULTILINE)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _hash, name = link.partition("#")
        to = (path.parent / target).resolve() if target else path
        if not to.exists() or (name and name not in anchors(to)):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links(path: Path) -> None:
    assert list(broken_links(path)) == []


@pytest.mark.parametrize("path", WITHOUT_ROLES, ids=ids)
def test_variables_exist(path: Path, variables: set[str]) -> None:
    named = set(re.findall(r"(?<![\w.{/@-])(?:firehose|germqtt|mosquitto)_[a-z0-9_]*[a-z0-9](?![\w*.])", text(path)))
    assert sorted(named - variables - NOT_VARIABLES) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_examples_can_be_parsed(path: Path) -> None:
    for language, example in FENCE.findall(text(path)):
        if language == "yaml":
            yaml.safe_load(example)
        elif language == "json":
            json.loads(example)
        elif language == "python":
            compile(example, str(path), "exec")


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_lines_have_100_columns(path: Path) -> None:
    """Rows of tables and lines of code cannot be wrapped, and links can be too long for that."""
    long = [line for line in prose(path).splitlines() if len(line) > 100 and not line.startswith("|")]
    assert [line for line in long if "](" not in line] == []


def test_the_readme_is_short() -> None:
    assert len(text(COLLECTION / "README.md").splitlines()) <= 150
