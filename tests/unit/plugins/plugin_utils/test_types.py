# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _types

ROLES = Path(__file__).parents[4] / "roles"
FOLDERS = ("defaults", "handlers", "tasks", "templates", "vars")


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        *(("bool", text, True) for text in ("true", "True", "YES", "on", "1", 1)),
        *(("bool", text, False) for text in ("false", "False", "no", "off", "0", 0)),
        ("int", "300", 300),
        ("int", "-1", -1),
        ("float", "2.5", 2.5),
        ("float", "3", 3.0),
    ],
)
def test_unambiguous_texts_are_converted(wanted, text, value):
    options = {"x": {"type": wanted}}
    found = _types.converted({"x": text, "other": text}, options)
    assert found == {"x": value, "other": text}
    assert type(found["x"]) is type(value)
    assert not [*_types.type_problems(found, options)]


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        *(("bool", value) for value in ("y", "t", "", "maybe", 2, "none")),
        *(("int", value) for value in ("", "3.5", "3 0", "1_000", "0x10", "\u0663", "many", True, 3.5)),
        *(("float", value) for value in ("", "1e3", "nan", "inf", "1_0", True)),
        ("list", "a,b"),
        ("dict", "a=b"),
        ("str", True),
    ],
)
def test_ambiguous_values_are_rejected(wanted, value):
    options = {"x": {"type": wanted, "elements": "str"}}
    found = _types.converted({"x": value}, options)
    assert found == {"x": value}
    (problem,) = _types.type_problems(found, options)
    assert problem.startswith("x: has to be ")


def test_texts_inside_lists_and_dictionaries_are_not_converted():
    options = {"x": {"type": "list", "elements": "dict", "options": {"port": {"type": "int"}}}}
    assert [*_types.type_problems(_types.converted({"x": [{"port": "1883"}]}, options), options)] == [
        "x[0].port: has to be a whole number, without quotes in YAML and JSON"
    ]


def test_roles_convert_where_they_use(roles):
    """A bare name in an expression would treat the text "false" as true, and concatenate numbers."""
    wanted = {
        name: option["type"]
        for role in roles.values()
        for spec in role.specs.values()
        for name, option in spec["options"].items()
        if option["type"] in ("bool", "int", "float")
    }
    files = [path for folder in FOLDERS for path in ROLES.glob(f"*/{folder}/**/*.*")]
    bare = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        conditions = [
            *re.findall(r"\{%(.*?)%\}", text, re.DOTALL),
            *re.findall(r"^\s*(?:when|that|until|failed_when|changed_when): (.*)$", text, re.MULTILINE),
            *re.findall(r"^\s*- (germqtt_\w+.*|firehose_\w+.*|mosquitto_\w+.*)$", text, re.MULTILINE),
        ]
        values = re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)
        # A single name is passed on, or printed. A template that prints a boolean must convert it.
        handed_on = {name for name in wanted if not (path.suffix == ".j2" and wanted[name] == "bool")}
        for expression in conditions + [value for value in values if value.strip() not in handed_on]:
            bare += [
                f"{path.name}: {match.string.strip()}"
                for match in re.finditer(r"(?<!['\w.])[a-z]+_\w+(?!')", expression)
                if match[0] in wanted and not re.match(rf" \| {wanted[match[0]]}\b", expression[match.end() :])
            ]
    assert len(files) > 20
    assert bare == []
