# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of a broker, as data."""

from __future__ import annotations

import dataclasses
import typing as t

from firehose_testing.brokers import VARIABLES

# The action with which a broker applies a change.
NOTHING, RELOAD, RESTART = "", "reload", "restart"


@dataclasses.dataclass(frozen=True)
class Change:
    """A change: commands at the host before (undone afterwards), the role's variables, and the expected result.

    An invalid change has a `cause`, which the error message must contain. A valid one has an `action`. A `command` replaces the run of the role.
    """

    name: str
    variables: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    before: str = "true"
    command: str = ""
    cause: str = ""
    action: str = NOTHING
    afterwards: str = "true"
    short: bool = False


def listeners(*more: dict[str, t.Any], without: int = 0) -> dict[str, t.Any]:
    """The variables with other listeners."""
    kept = [listener for listener in VARIABLES["mosquitto_listeners"] if listener.get("port") != without]
    return {"mosquitto_listeners": [*kept, *more]}


def tls(certificate: str, key: str, **others: str) -> dict[str, t.Any]:
    """The variables with another certificate for MQTT."""
    return listeners({"port": 8883, "tls": {"certificate": certificate, "key": key, **others}}, without=8883)


def users(*more: dict[str, t.Any], without: str = "") -> dict[str, t.Any]:
    """The variables with other accounts."""
    return {"mosquitto_users": [*(user for user in VARIABLES["mosquitto_users"] if user["name"] != without), *more]}


def acl(**rules: t.Any) -> dict[str, t.Any]:
    """The variables with other rules."""
    return {"mosquitto_acl": {**VARIABLES["mosquitto_acl"], **rules}}
