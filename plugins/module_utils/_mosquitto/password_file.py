# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mosquitto's password file as data: pure functions, nothing here reads or writes a file.

The formats are those of Mosquitto's own ``mosquitto_passwd`` and of its ``password_mosq.c``:
``$7$iterations$salt$hash`` is PBKDF2-HMAC-SHA512, ``$6$salt$hash`` one round of SHA512 over password and salt,
``$argon2id$...`` the usual encoding of Argon2, which only Mosquitto 2.1 reads. Salt and hash are Base64.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import os
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file

DEFAULT_ITERATIONS = 1000
MAX_ITERATIONS = 10_000_000
# Mosquitto 2.0 reads the first length only; 2.1 reads both.
SALT_BYTES = (12, 64)
HASH_BYTES = 64
MAX_NAME_BYTES = 65535

ARGON2 = re.compile(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")


# The keys for an account's password.
PASSWORDS = ("password", "password_hash", "password_file")


class HashError(ValueError):
    """A stored hash that the broker would reject. The message never quotes the hash."""


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The parameters of new hashes."""

    iterations: int = DEFAULT_ITERATIONS
    salt_bytes: int = SALT_BYTES[0]


@dataclasses.dataclass(frozen=True)
class PasswordHash:
    """A stored hash in one of the formats above, parsed."""

    text: str
    algorithm: str
    iterations: int = 0
    salt: bytes = b""
    digest: bytes = b""

    def matches(self, password: str) -> bool:
        """Compare a password with this hash, by its salt and iterations. False for Argon2."""
        if self.algorithm == "argon2id":
            return False
        return hmac.compare_digest(self.digest, _digest(self.algorithm, password, self.salt, self.iterations))

    def was_made_with(self, parameters: Parameters) -> bool:
        """Return whether a new hash would differ only in its salt."""
        return self.algorithm == "sha512-pbkdf2" and parameters == Parameters(self.iterations, len(self.salt))


def _digest(algorithm: str, password: str, salt: bytes, iterations: int) -> bytes:
    if algorithm == "sha512":
        return hashlib.sha512(password.encode() + salt).digest()
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise HashError(f"its {what} is not Base64") from None


def parse_hash(text: str) -> PasswordHash:
    """Parse a stored hash, as strictly as the broker does."""
    if text.startswith("$argon2id$"):
        if not ARGON2.fullmatch(text):
            raise HashError("it is not a complete $argon2id$ hash")
        return PasswordHash(text, "argon2id")
    fields = text.split("$")
    if fields[:2] == ["", "7"] and len(fields) == 5:
        algorithm, iterations = "sha512-pbkdf2", fields[2]
        if not re.fullmatch(r"[1-9][0-9]{0,8}", iterations):
            raise HashError("its number of iterations is not a positive number")
    elif fields[:2] == ["", "6"] and len(fields) == 4:
        algorithm, iterations = "sha512", "1"
    else:
        raise HashError("it is none of $7$iterations$salt$hash, $6$salt$hash and $argon2id$...")
    salt, digest = _base64(fields[-2], "salt"), _base64(fields[-1], "hash")
    if len(salt) not in SALT_BYTES:
        raise HashError(f"its salt has {len(salt)} bytes instead of {' or '.join(map(str, SALT_BYTES))}")
    if len(digest) != HASH_BYTES:
        raise HashError(f"its hash has {len(digest)} bytes instead of {HASH_BYTES}")
    return PasswordHash(text, algorithm, int(iterations), salt, digest)


def hash_password(password: str, parameters: Parameters = Parameters(), salt: bytes | None = None) -> str:
    """Hash a password as ``$7$``, with a random salt unless one is given."""
    if salt is None:
        salt = os.urandom(parameters.salt_bytes)
    digest = _digest("sha512-pbkdf2", password, salt, parameters.iterations)
    return f"$7${parameters.iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def name_problem(name: str) -> str | None:
    """Say why the broker cannot have an account with this username, or None."""
    if not name:
        return "a name cannot be empty"
    if ":" in name:
        return f"{name!r}: a name cannot have ':', which ends it in the password file"
    if name.startswith("#"):
        return f"{name!r}: a name cannot start with '#', which makes its line a comment"
    if name != name.strip(line_file.BLANKS):
        return f"{name!r}: a name cannot start or end with blanks, which the password file loses"
    if line_file.has_unfit_characters(name):
        return f"{name!r}: a name cannot have control characters, nor others that MQTT forbids"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"a name has at most {MAX_NAME_BYTES} bytes"
    return None


def _password_problem(password: str) -> str | None:
    if not password:
        return "its password is empty"
    if "\0" in password:
        return "its password has a NUL character, where the broker stops reading it"
    if any(0xD800 <= ord(char) < 0xE000 for char in password):
        return "its password is not UTF-8"
    return None


def duplicates(names: t.Iterable[str]) -> list[tuple[str, int, int]]:
    """List each repeated name, with the indexes of its first and of its later place."""
    first: dict[str, int] = {}
    found = []
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            found.append((name, first[name], index))
    return found


def _user_problem(user: t.Mapping[str, t.Any], passwords: t.Sequence[str]) -> str | None:
    problem = name_problem(str(user["name"]))
    if problem:
        return problem
    given = [key for key in PASSWORDS if user.get(key) is not None]
    if len(given) > 1:
        return f"give only one of {' and '.join(given)}"
    if user.get("state", "present") == "absent":
        return None
    if not given:
        return f"needs one of {', '.join(passwords)}"
    if given == ["password"]:
        return _password_problem(str(user["password"]))
    if given == ["password_file"]:
        return None if str(user["password_file"]).startswith("/") else "password_file has to be an absolute path"
    try:
        parse_hash(user["password_hash"])
    except HashError as exc:
        return f"the broker would reject its password_hash: {exc}"
    return None


def user_problems(
    users: t.Sequence[t.Mapping[str, t.Any]], variable: str, passwords: t.Sequence[str] = PASSWORDS
) -> list[str]:
    """List the problems of wanted accounts, each with its place in the variable and its name. Quotes no secret.

    The passwords are the variable's keys for a password.
    """
    problems = []
    for index, user in enumerate(users):
        problem = _user_problem(user, passwords)
        if problem:
            problems.append(f"{variable}[{index}] ({user['name']}): {problem}")
    for name, first, again in duplicates(str(user["name"]) for user in users):
        problems.append(f"{variable}[{again}] ({name}): {variable}[{first}] has the same name")
    return problems


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a password file. Comments and empty lines have no name."""

    text: str
    name: str | None = None
    stored: PasswordHash | None = None


def parse(content: str) -> list[Line]:
    """Parse a password file. A line that the broker would reject or drop raises an error with its number."""
    lines: list[Line] = []
    seen: dict[str, int] = {}
    for number, text in line_file.split(content):
        if not text.strip() or text.startswith("#"):
            lines.append(Line(text))
            continue
        name, colon, stored = text.partition(":")
        if not colon:
            raise line_file.FileError(number, "there is no ':' after the name")
        name = name.strip(line_file.BLANKS)
        problem = name_problem(name)
        if problem:
            raise line_file.FileError(number, problem)
        if name in seen:
            raise line_file.FileError(number, f"line {seen[name]} has the same name, {name!r}")
        seen[name] = number
        try:
            lines.append(Line(text, name, parse_hash(stored.strip())))
        except HashError as exc:
            raise line_file.FileError(number, f"the broker would reject the hash of {name!r}: {exc}") from None
    return lines


def render(lines: t.Iterable[Line]) -> str:
    """Return a password file's text."""
    return line_file.join(line.text for line in lines)


@dataclasses.dataclass
class Changes:
    """The names of the accounts that a merge adds, updates with another password, gives only another hash, or removes."""

    added: list[str] = dataclasses.field(default_factory=list)
    updated: list[str] = dataclasses.field(default_factory=list)
    rehashed: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Policy:
    """The options of a merge for accounts that are in the file already."""

    prune: bool = False  # remove accounts that are not wanted
    on_create: bool = False  # keep the password of existing accounts
    rehash: bool = False  # hash a correct password again if its parameters are not those of new hashes


def _outdated(stored: PasswordHash, user: t.Mapping[str, t.Any], parameters: Parameters, policy: Policy) -> str | None:
    """The list of Changes for an existing account, or None."""
    if policy.on_create:
        return None
    if user.get("password_hash") is not None:
        return None if stored.text == user["password_hash"] else "updated"
    if not stored.matches(str(user["password"])):
        return "updated"
    return "rehashed" if policy.rehash and not stored.was_made_with(parameters) else None


def merge(
    lines: t.Sequence[Line],
    users: t.Sequence[t.Mapping[str, t.Any]],
    parameters: Parameters = Parameters(),
    policy: Policy = Policy(),
) -> tuple[list[Line], Changes]:
    """Merge the wanted accounts into a file's lines. Correct lines stay unchanged, and where they are."""
    wanted = {str(user["name"]): user for user in users}
    present = {name: user for name, user in wanted.items() if user.get("state", "present") == "present"}
    changes = Changes()

    def wanted_line(name: str) -> Line:
        user = present[name]
        text = user.get("password_hash") or hash_password(str(user["password"]), parameters)
        return Line(f"{name}:{text}", name, parse_hash(text))

    merged = []
    for line in lines:
        if line.name is None or line.stored is None:
            merged.append(line)
        elif line.name in present:
            outdated = _outdated(line.stored, present[line.name], parameters, policy)
            if outdated:
                getattr(changes, outdated).append(line.name)
            merged.append(wanted_line(line.name) if outdated else line)
        elif policy.prune or line.name in wanted:
            changes.removed.append(line.name)
        else:
            merged.append(line)
    there = {line.name for line in lines}
    for name in present:
        if name not in there:
            changes.added.append(name)
            merged.append(wanted_line(name))
    return merged, changes
