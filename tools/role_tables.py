# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the tables of variables in the roles' READMEs from their argument specs.

With --check, only say whether they are as they would be written.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
import typing as t
from pathlib import Path

import yaml

ROLES = Path(__file__).parents[1] / "roles"
START = "<!-- The rest is written by `make tables` from meta/argument_specs.yml. -->\n"


def plain(sentences: str | list[str]) -> str:
    """Sentences, or a list of them, in one paragraph, with Ansible's semantic markup as Markdown."""
    text = sentences if isinstance(sentences, str) else " ".join(sentences)
    text = re.sub(r"P\([\w.]+\.(\w+)#role\)", r"`\1`", text)
    text = re.sub(r"O\(\w+:", "O(", text)  # an option of another entry point
    return re.sub(r"[OVC]\(([^()]*)\)", r"`\1`", text)


def paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def rows(options: dict[str, t.Any], prefix: str = "") -> t.Iterator[str]:
    for name, option in options.items():
        kind, path = option["type"], f"{prefix}{name}"
        if kind == "list":
            kind = f"list of {option['elements']}"
        default = (
            "required"
            if option.get("required")
            else f"`{json.dumps(option['default'])}`"
            if "default" in option
            else ""
        )
        words = plain(option["description"])
        if "choices" in option:
            words += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        yield f"| `{path}` | {kind} | {default} | {words} |"
        yield from rows(option.get("options", {}), f"{path}{'[]' if option['type'] == 'list' else ''}.")


def tables(specs: dict[str, t.Any]) -> str:
    parts = []
    for entry_point, spec in specs.items():
        if entry_point == "main":
            title = "## Variables\n"
        else:
            about = f"{plain(spec['short_description'])}. {plain(spec['description'])}"
            title = f"## Variables of the entry point `{entry_point}`\n\n{paragraph(about)}\n"
        if entry_point != "main" and spec["options"] == specs["main"]["options"]:
            parts += [title, "It takes the same variables.", ""]
        elif entry_point != "main" and spec["options"].items() <= specs["main"]["options"].items():
            names = ", ".join(f"`{name}`" for name in spec["options"])
            parts += [title, paragraph(f"It takes some of the same variables: {names}."), ""]
        else:
            parts += [title, "| variable | type | default | |\n|---|---|---|---|", *rows(spec["options"]), ""]
    return "\n".join(parts)


def main() -> int:
    stale = []
    for role in sorted(ROLES.iterdir()):
        specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        readme = role / "README.md"
        before = readme.read_text(encoding="utf-8")
        after = before[: before.index(START)] + START + "\n" + tables(specs)
        if before != after:
            stale.append(str(readme))
            if "--check" not in sys.argv[1:]:
                readme.write_text(after, encoding="utf-8")
    if "--check" in sys.argv[1:] and stale:
        print(f"not as 'make tables' would write them: {', '.join(stale)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
