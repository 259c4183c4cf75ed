# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words that programs of one host share and that nobody has to know: each in a file of its own, made where it is missing."""

from __future__ import annotations

import os
import re
import secrets

MODE = 0o600


class WordError(ValueError):
    """A file that does not hold a word."""


def new() -> str:
    """A word that nobody guesses."""
    return secrets.token_hex(16)


def read(path: str) -> str | None:
    """The word that a file holds, None if there is no such file."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise WordError(f"{path} cannot be read: {exc.strerror}") from None
    if not re.fullmatch(rb"[!-~]+\n?", content):
        raise WordError(f"{path} does not hold one word")
    return content.decode().strip()


def make(path: str) -> str:
    """Have a new word in a new file, which is its owner's alone."""
    word = new()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{word}\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as exc:
        raise WordError(f"{path} cannot be written: {exc.strerror}") from None
    return word
