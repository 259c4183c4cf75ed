# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Validate an SSH private key by its structure, without a library: whether it is complete, and has no passphrase.

PEM (RFC 7468) around DER, or around OpenSSH's own format (PROTOCOL.key in OpenSSH's source).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import typing as t

MAGIC = b"openssh-key-v1\0"
BLOCK = 8  # bytes, the least that OpenSSH pads the private part to
PASSPHRASE = "this key has a passphrase, which a daemon cannot enter. Remove it from a copy of the key: ssh-keygen -p -N '' -f FILE"
CUT_OFF = "this key is cut off or damaged. Copy the whole file again, and test it: ssh-keygen -y -P '' -f FILE"
NO_KEY = "this is not a private key in PEM or OpenSSH format. Make one: ssh-keygen -t ed25519 -N '' -f FILE"
# PuTTY's own format, the only other one that is common
PUTTY = "this is a key in PuTTY's format. Convert it: puttygen FILE -O private-openssh-new -o NEW_FILE"


class _CutOffError(Exception):
    """The key has fewer bytes than its length fields say."""


class _Fields:
    """Reads the fields of OpenSSH's format."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        if size > len(self._data):
            raise _CutOffError
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def number(self) -> int:
        return t.cast("int", struct.unpack("!I", self.take(4))[0])

    def string(self) -> bytes:
        return self.take(self.number())

    @property
    def left(self) -> int:
        return len(self._data)


def _openssh_problem(data: bytes) -> str | None:
    fields = _Fields(data)
    if fields.take(len(MAGIC)) != MAGIC:
        return CUT_OFF
    cipher, kdf, _options = fields.string(), fields.string(), fields.string()
    if (cipher, kdf) != (b"none", b"none"):
        return PASSPHRASE
    if fields.number() != 1:
        return CUT_OFF
    public, private = _Fields(fields.string()), fields.string()
    if fields.left or len(private) % BLOCK:
        return CUT_OFF
    inner = _Fields(private)
    # The same random number twice, and the type that the public half has too.
    if inner.number() != inner.number() or inner.string() != public.string():
        return CUT_OFF
    return None


def _der_problem(data: bytes) -> str | None:
    """Say that this is not one complete DER sequence, or None."""
    fields = _Fields(data)
    kind, size = fields.take(2)
    if size & 0x80:
        size = int.from_bytes(fields.take(size & 0x7F), "big")
    return None if kind == 0x30 and size == fields.left else CUT_OFF


def problem(key: str) -> str | None:
    """Say why germqtt cannot use this private key, and which command helps, or None. Quotes nothing of the key."""
    text = key.strip() + "\n"
    begin = re.match(r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\n", text)
    if text.startswith("PuTTY-User-Key-File-"):
        return PUTTY
    if not begin:
        return NO_KEY
    kind = begin[1]
    end = f"\n-----END {kind or ''}PRIVATE KEY-----\n"
    if not text.endswith(end):
        return CUT_OFF
    body = text[begin.end() : -len(end)]
    if kind == "ENCRYPTED " or re.search(r"^Proc-Type: *4,ENCRYPTED", body, re.MULTILINE):
        return PASSPHRASE
    try:
        data = base64.b64decode(body.replace("\n", ""), validate=True)
        return (_openssh_problem if kind == "OPENSSH " else _der_problem)(data)
    except (binascii.Error, ValueError, _CutOffError):
        return CUT_OFF
