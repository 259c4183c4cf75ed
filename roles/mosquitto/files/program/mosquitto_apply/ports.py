# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""See whether the host has the addresses and free ports of listeners: a trial has a network of its own, and cannot tell."""

from __future__ import annotations

import errno
import os
import re
import socket
import typing as t

from mosquitto_apply import command
from mosquitto_apply.config import Listener


def _holder(port: int) -> str:
    """The program that listens on a port, as far as ss can tell."""
    try:
        said = command.run(
            *("ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"), f"sport = :{port}"
        ).stdout
    except OSError:
        return ""
    holders = dict.fromkeys(re.findall(r'\("([^"]+)",pid=([0-9]+)', said))
    return "".join(f": {name}, PID {pid}" for name, pid in holders)


def _problem(listener: Listener, port: int) -> str | None:
    """What is in the way of a listener at a port, or at any port of its address if that is 0."""
    families = 0
    for family, kind, protocol, _name, address in socket.getaddrinfo(
        listener.address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            place = socket.socket(family, kind, protocol)
        except OSError:
            # A kernel without IPv6. Mosquitto passes over the family, too.
            continue
        families += 1
        with place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                place.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                place.bind(address)
                place.listen(1)
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    return f"{listener}: {exc.strerror}{_holder(port)}. Free the port, or use another"
                if exc.errno == errno.EADDRNOTAVAIL:
                    return f"{listener}: {exc.strerror}. Use an address of this host, as `ip address` lists them"
    return None if families else f"{listener}: {os.strerror(errno.EAFNOSUPPORT)}"


def problems(wanted: t.Iterable[Listener], opened: t.Iterable[Listener]) -> list[str]:
    """Those of the wanted listeners that the host has no address for, or that something else is in the way of.

    Ports that the broker itself has opened are not free, which is no problem. Their addresses are tried with any port.
    """
    own = {listener.port for listener in opened}
    found = []
    for listener in wanted:
        if listener.port:
            try:
                problem = _problem(listener, 0 if listener.port in own else listener.port)
            except OSError as exc:
                problem = f"{listener}: {exc.strerror}"
            if problem:
                found.append(problem)
    return found
