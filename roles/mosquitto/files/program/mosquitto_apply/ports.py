# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the host has the listeners' addresses and that their ports are free. A trial cannot: it has its own network."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import free_ports

from mosquitto_apply import command
from mosquitto_apply.config import Listener


def _holders(port: int) -> dict[int, str]:
    try:
        return free_ports.holders(command.run(*free_ports.show(port)).stdout)
    except OSError:
        return {}


def problems(wanted: t.Iterable[Listener], opened: t.Iterable[Listener]) -> list[str]:
    """The wanted listeners whose address the host does not have, or whose port is in use, each with the problem.

    Ports that the broker itself has opened are no problem. Their addresses are tested with any free port.
    """
    own = {listener.port for listener in opened}
    found = []
    for listener in wanted:
        if listener.port:
            try:
                problem = free_ports.problem(listener.address, 0 if listener.port in own else listener.port, _holders)
            except OSError as exc:
                problem = exc.strerror
            if problem:
                found.append(f"{listener}: {problem}")
    return found
