# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether ports are free that the broker has not opened yet: a trial in a network of its own cannot tell."""

from __future__ import annotations

import errno
import socket
import typing as t

from mosquitto_apply.config import Listener

TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


def _problem(listener: Listener) -> str | None:
    for family, kind, protocol, _name, address in socket.getaddrinfo(
        listener.address or None, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                place.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                place.bind(address)
                place.listen(1)
            except OSError as exc:
                if exc.errno in TAKEN:
                    return f"{listener}: {exc.strerror}"
    return None


def problems(wanted: t.Iterable[Listener], opened: t.Iterable[Listener]) -> list[str]:
    """Those of the wanted listeners that something else is in the way of. The broker itself has opened others already."""
    own = {listener.port for listener in opened}
    found = []
    for listener in wanted:
        if listener.port and listener.port not in own:
            try:
                problem = _problem(listener)
            except OSError as exc:
                problem = f"{listener}: {exc.strerror}"
            if problem:
                found.append(problem)
    return found
