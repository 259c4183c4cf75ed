# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of attacks, and the program that runs one of them in the attackers' container."""

from __future__ import annotations

import asyncio
import dataclasses
import typing as t

from . import report, wire
from .field import Field
from .target import make_target

Run = t.Callable[[Field], t.Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack. If it is `forbidden`, it must not succeed at all. Otherwise it only must not affect other clients.

    Meanwhile the broker has `retained` messages of a kilobyte.
    """

    name: str
    run: Run
    forbidden: bool
    seconds: float
    long_seconds: float
    sources: int
    ipv6: bool
    least: int
    retained: int


# In the long form ten new clients connect during each attack, on each transport.
LONG_SECONDS = 26
ATTACKS: dict[str, Attack] = {}


def attack(
    name: str,
    *,
    forbidden: bool = False,
    seconds: float = 3,
    long_seconds: float = LONG_SECONDS,
    sources: int = 8,
    ipv6: bool = False,
    least: int = 1,
    retained: int = 0,
) -> t.Callable[[Run], Run]:
    """Register an attack.

    The short form runs it for some seconds. It comes from several addresses, or from as many addresses of one IPv6 network. The long form
    has at least this number of tries.
    """

    def register(run: Run) -> Run:
        ATTACKS[name] = Attack(name, run, forbidden, seconds, long_seconds, sources, ipv6, least, retained)
        return run

    return register


async def _run(told: t.Mapping[str, t.Any]) -> None:
    target = make_target(told["target"], told["host"], told["core"])
    field = Field(target, told["sources"], told["seconds"], told["long"], told["seed"])
    await ATTACKS[told["attack"]].run(field)
    report.tell("outcome", tried=field.tried, through=field.through, notes=field.notes, traffic=wire.traffic)


def main() -> None:
    asyncio.run(_run(report.told()))
