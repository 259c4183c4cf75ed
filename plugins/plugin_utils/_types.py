# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Strict type checks, by a role's own argument specs.

Ansible checks that a role's variables can be converted to their types, and then passes them to the role unconverted: a text
in place of a list would be read as a list of letters, and the text "no" as true.

``-e name=value`` and INI inventories have texts only. A text that can mean one boolean or number is accepted as the value of a
variable; the roles convert it where they use it. Inside lists and dictionaries, which are YAML or JSON, a text is meant as a text.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file

# The filters bool, int and float convert these without loss, in upper and lower case.
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
INTEGER = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# A name or an address of a host, by its characters only.
HOST = re.compile(r"[A-Za-z0-9._:-]+")
ACCEPTED: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "a boolean: true or false, without quotes in YAML and JSON"),
    "dict": ((t.Mapping,), "a dictionary; -e takes one as JSON"),  # type: ignore[type-abstract]
    "float": ((int, float), "a number, without quotes in YAML and JSON"),
    "int": ((int,), "a whole number, without quotes in YAML and JSON"),
    "list": ((t.Sequence,), "a list; -e takes one as JSON"),  # type: ignore[type-abstract]
    "str": ((str, int, float), "a text"),
}


def _is(value: t.Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "bool"
    if isinstance(value, str):
        return wanted == "str"
    return isinstance(value, ACCEPTED[wanted][0])


def _converted(value: t.Any, wanted: str) -> t.Any:
    if wanted == "bool" and isinstance(value, int) and value in (0, 1):
        return bool(value)
    if not isinstance(value, str):
        return value
    if wanted == "bool":
        return BOOLEANS.get(value.lower(), value)
    if wanted == "int" and INTEGER.fullmatch(value):
        return int(value)
    if wanted == "float" and NUMBER.fullmatch(value):
        return float(value)
    return value


def converted(values: t.Mapping[str, t.Any], options: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Convert texts that mean one boolean or number in variables; all other values stay unchanged."""
    return {
        name: _converted(value, options[name]["type"]) if name in options else value for name, value in values.items()
    }


def problems(
    variables: t.Mapping[str, t.Any], options: t.Mapping[str, t.Mapping[str, t.Any]], texts: t.Container[str] = ()
) -> list[str]:
    """List wrong types and control characters in variables, before all other checks. Only the keys in texts may have line breaks."""
    return [*type_problems(variables, options), *control_character_problems(variables, texts=texts)]


def type_problems(
    values: t.Mapping[str, t.Any], options: t.Mapping[str, t.Mapping[str, t.Any]], prefix: str = ""
) -> t.Iterator[str]:
    """List the values that an option does not allow, and those that are missing, each with its place. Quotes no secret."""
    for name, value in values.items():
        option = options.get(name)
        if option is not None:
            yield from _option_problems(value, option, f"{prefix}{name}")
    for name, option in options.items():
        if option.get("required") and name not in values:
            yield f"{prefix}{name}: is required"


def _option_problems(value: t.Any, option: t.Mapping[str, t.Any], path: str) -> t.Iterator[str]:
    if not _is(value, option["type"]):
        yield f"{path}: has to be {ACCEPTED[option['type']][1]}"
        return
    if option["type"] == "list":
        element = {**option, "type": option["elements"]}
        for index, item in enumerate(value):
            yield from _option_problems(item, element, f"{path}[{index}]")
    elif option["type"] == "dict" and "options" in option:
        yield from _unknown_keys(value, option["options"], path)
        yield from type_problems(value, option["options"], f"{path}.")
    elif "choices" in option and str(value) not in map(str, option["choices"]):
        yield f"{path}: {value!r} is not one of {', '.join(map(str, option['choices']))}"


def _unknown_keys(value: t.Mapping[str, t.Any], options: t.Collection[str], path: str) -> t.Iterator[str]:
    for key in value:
        if key not in options:
            nearest = difflib.get_close_matches(str(key), options, n=1)
            remedy = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(options)}"
            yield f"{path}.{key}: there is no such key; {remedy}"


def control_character_problems(value: t.Any, path: str = "", texts: t.Container[str] = ()) -> t.Iterator[str]:
    """List the texts with a control character, such as a line break, which would add a line to a file. Quotes no value.

    The values of the keys in texts are not checked.
    """
    if isinstance(value, str):
        if line_file.has_control_characters(value):
            yield f"{path}: has a line break or another control character"
    elif isinstance(value, t.Mapping):
        for key, item in value.items():
            if key not in texts:
                yield from control_character_problems(item, f"{path}.{key}" if path else str(key), texts)
    elif isinstance(value, t.Sequence):
        for index, item in enumerate(value):
            yield from control_character_problems(item, f"{path}[{index}]", texts)


def range_problems(variables: t.Mapping[str, t.Any], ranges: t.Mapping[str, tuple[int, int | None]]) -> t.Iterator[str]:
    """Numbers out of their range; None is no limit."""
    for name, (least, most) in ranges.items():
        if variables[name] < least or (most is not None and variables[name] > most):
            yield f"{name}: {variables[name]} is not between {least} and {'any number' if most is None else most}"
