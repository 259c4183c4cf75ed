# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether the host has the addresses and free ports of listeners: a trial has a network of its own, and cannot tell."""

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
    """Those of the wanted listeners that the host has no address for, or that something else is in the way of.

    Ports that the broker itself has opened are not free, which is no problem. Their addresses are tried with any port.
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
