# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts and ACL rules in a set's files, which the broker's behaviour is compared with."""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import (
    acl_decisions,
    acl_file,
    line_file,
    password_file,
)

from mosquitto_apply import config
from mosquitto_apply.problem import Problem
from mosquitto_apply.sets import Files, decoded

T = t.TypeVar("T")
WRITING = ("write", "readwrite")
# Bytes of the longest username that a client can log in with.
LONGEST_NAME = 65535


@dataclasses.dataclass(frozen=True)
class Rights:
    """The accounts and the ACL rules; None where the configuration has no such file."""

    accounts: list[str] | None
    rules: acl_file.Rights | None

    def lets_anonymous_pass_on(self, topic: str) -> bool:
        """Whether anonymous clients can both publish to a topic and read it."""
        if self.rules is None:
            return True
        return all(acl_decisions.decide(self.rules, topic, access, None) for access in ("write", "read"))

    @property
    def publisher(self) -> str | None:
        """An account to test impersonation with, preferably one that can publish."""
        writing = self.rules.users if self.rules else {}

        def rank(name: str) -> tuple[bool, str]:
            return not any(rule.access in WRITING for rule in writing.get(name, [])), name

        return min((name for name in self.accounts or () if len(name.encode()) <= LONGEST_NAME), key=rank, default=None)


def probe_topic() -> str:
    """A unique topic for a probe."""
    return f"mosquitto-apply/{uuid.uuid4().hex}"


def _parsed(files: Files, option: str, parse: t.Callable[[str], T]) -> T | None:
    content = files.content(option)
    if content is None:
        return None
    path = config.values(files.lines, option)[0]
    try:
        return parse(decoded(path, content))
    except line_file.FileError as exc:
        raise Problem(f"{path}, {exc}") from None


def read(files: Files) -> Rights:
    """Read the accounts and the ACL rules. Fail for a line that one of the versions would reject or ignore."""
    accounts = _parsed(files, "password_file", password_file.parse)
    rules = _parsed(files, "acl_file", acl_file.parse)
    return Rights(
        None if accounts is None else [line.name for line in accounts if line.name],
        None if rules is None else acl_file.collect(rules),
    )
