# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether a host has the address of a listener, and whether its port is free."""

from __future__ import annotations

import errno
import os
import re
import socket
import typing as t

# The address and port of a listener, as options of a module
LISTENER: dict[str, t.Any] = {"port": {"type": "int", "required": True}, "bind_address": {"type": "str", "default": ""}}


def show(port: int) -> list[str]:
    """The command that lists the programs that listen on a port."""
    return ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"]


def holders(said: str) -> dict[int, str]:
    """The programs in the output of ss, by process id."""
    return {int(pid): name for name, pid in re.findall(r'\("([^"]+)",pid=([0-9]+)', said)}


def problem(address: str, port: int, holders_of: t.Callable[[int], dict[int, str]]) -> str | None:
    """Say why a listener cannot use a port, or any port of its address if that is 0, or None. An empty address means all addresses."""
    families = 0
    for family, kind, protocol, _name, place in socket.getaddrinfo(
        address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            listener = socket.socket(family, kind, protocol)
        except OSError:
            # A kernel without IPv6. Mosquitto and systemd skip the family, too.
            continue
        families += 1
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                # Fails if another socket listens there, and does not disturb one that is about to listen.
                listener.bind(place)
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    found = "".join(f": {name}, PID {pid}" for pid, name in holders_of(port).items())
                    return f"{exc.strerror}{found}. Free the port, or use another"
                if exc.errno == errno.EADDRNOTAVAIL:
                    return f"{exc.strerror}. Use an address of this host, as `ip address` lists them"
    return None if families else os.strerror(errno.EAFNOSUPPORT)
