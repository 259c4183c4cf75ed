# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target of the attacks, as data: no other module here knows the layout of the firehose."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Listener:
    """An address and port where clients connect."""

    host: str
    port: int
    transport: t.Literal["tcp", "websockets"] = "tcp"
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.transport}{'+tls' if self.tls else ''} {self.port}"


@dataclasses.dataclass(frozen=True)
class Login:
    """An account, its client id, and the listener that accepts it."""

    listener: Listener
    username: str
    password: str
    client_id: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A firehose, as the scenario's variables describe it."""

    listeners: tuple[Listener, ...]
    account_listeners: tuple[Listener, ...]
    publisher: Login
    watcher: Login
    insiders: t.Mapping[str, Login]
    watched: tuple[str, ...]
    names: tuple[str, ...]
    client_ids: tuple[str, ...]
    services: tuple[str, ...]
    most_memory: int

    @property
    def doors(self) -> tuple[Listener, ...]:
        """All listeners that attackers can reach."""
        return (*self.listeners, *self.account_listeners)

    def of(self, transport: str) -> list[Listener]:
        """The public listeners of one transport."""
        return [listener for listener in self.listeners if listener.transport == transport]


def _login(data: t.Mapping[str, t.Any]) -> Login:
    own = {key: data[key] for key in ("username", "password", "client_id")}
    return Login(Listener(data["host"], data["port"], data.get("transport", "tcp"), data.get("tls", False)), **own)


def make_target(data: t.Mapping[str, t.Any], host: str, core: str = "") -> Target:
    """Read the scenario's variable, for clients that reach the firehose at `host`, and the accounts of its core host at `core`."""
    return Target(
        listeners=tuple(Listener(host, **listener) for listener in data["listeners"]),
        account_listeners=tuple(Listener(host, **listener) for listener in data["account_listeners"]),
        publisher=_login(data["publisher"]),
        watcher=_login(data["watcher"]),
        insiders={name: _login({"host": core, **login}) for name, login in data["insiders"].items()},
        watched=tuple(data["watched"]),
        names=tuple(data["names"]),
        client_ids=tuple(data["client_ids"]),
        services=tuple(data["services"]),
        most_memory=data["most_memory"],
    )
