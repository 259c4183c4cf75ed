# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code that runs on managed hosts must work with Python 3.8, the oldest version that ansible-core 2.19 supports there."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
FILES = [*PLUGINS.glob("modules/*.py"), *PLUGINS.glob("module_utils/**/*.py")]
GENERIC = {"dict", "frozenset", "list", "set", "tuple", "type"}
NEW = {"removeprefix", "removesuffix", "is_relative_to", "with_stem", "VERIFY_X509_PARTIAL_CHAIN"}


def evaluated(node: ast.AST) -> t.Iterator[ast.AST]:
    """All nodes of a syntax tree except annotations, which are not evaluated."""
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from evaluated(child)


def is_new(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in GENERIC
    return (isinstance(node, ast.Attribute) and node.attr in NEW) or (
        isinstance(node, ast.keyword) and node.arg == "usedforsecurity"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_no_file_uses_features_newer_than_python_3_8(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert [f"line {node.lineno}" for node in evaluated(tree) if is_new(node)] == []
