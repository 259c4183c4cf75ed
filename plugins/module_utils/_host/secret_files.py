# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that programs of one host share and that no person needs: each in its own file, created if it is missing."""

from __future__ import annotations

import os
import re
import secrets

MODE = 0o600


class WordError(ValueError):
    """A file that does not hold one secret, or that cannot be read or written."""


def new() -> str:
    """A random secret."""
    return secrets.token_hex(16)


def read(path: str) -> str | None:
    """The secret in a file, None if there is no such file."""
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
    """Write a new secret to a new file that only its owner can read."""
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
