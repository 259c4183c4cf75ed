# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unchanged examples of the documents."""

from __future__ import annotations

import re
import textwrap

from .fixtures import PROJECT

FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# The host of the examples
HOST = "firehose01.example.org"


def examples(path: str, language: str) -> list[str]:
    """The examples of a document in a language, in order."""
    text = (PROJECT / path).read_text(encoding="utf-8")
    return [textwrap.dedent(code) for found, code in FENCE.findall(text) if found == language]


def example(path: str, language: str, part: str) -> str:
    """The only example of a document that contains a text."""
    [found] = [code for code in examples(path, language) if part in code]
    return found
