# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common format of Mosquitto's password files and ACL files: one entry a line."""

from __future__ import annotations

import typing as t

# The whitespace that the broker strips in a line. Other whitespace of Python is ordinary characters for the broker.
BLANKS = " \t\n\v\f\r"


# The line and the paragraph separator end a line for Python and for many editors and viewers, but not for the broker.
SEPARATORS = (0x2028, 0x2029)


def has_control_characters(text: str) -> bool:
    """Return whether a text has a line break of any kind, or another control character."""
    return any(code < 0x20 or 0x7F <= code < 0xA0 or code in SEPARATORS for code in map(ord, text))


def has_unfit_characters(text: str) -> bool:
    """Return whether a text has control characters, or surrogates and noncharacters, which MQTT forbids too."""
    return has_control_characters(text) or any(
        0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0 or code & 0xFFFE == 0xFFFE for code in map(ord, text)
    )


class FileError(ValueError):
    """A file that the broker would reject or misread; ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


def split(content: str) -> t.Iterator[tuple[int, str]]:
    """Yield each line of a file with its number. The last one may lack its line feed."""
    if content.startswith("\ufeff"):
        raise FileError(1, "it starts with a byte order mark, which the broker takes for a part of the first word")
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, 1):
        if line.endswith("\r"):
            raise FileError(number, "it ends in CR LF; Mosquitto's files end their lines in LF")
        if "\0" in line:
            raise FileError(number, "it has a NUL character, where the broker would stop reading")
        yield number, line


def join(lines: t.Iterable[str]) -> str:
    """Return a file's text."""
    return "".join(f"{line}\n" for line in lines)
