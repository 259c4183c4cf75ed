# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control: publish, as the attackers must not be able to. It shows that the observers would notice it."""

from __future__ import annotations

import asyncio
import dataclasses

from . import events, packets, report, wire
from .target import make_target

TOPIC = "gerrit/hostile/control"


async def main() -> None:
    told = report.told()
    login = make_target(told["target"], told["host"]).publisher
    login = dataclasses.replace(login, client_id=f"{login.client_id}-control")
    connection = await wire.connect(login.listener)
    hello = packets.connect(packets.V3, login.client_id, username=login.username, password=login.password)
    await wire.log_in(connection, packets.V3, hello)
    for number in range(told.get("retained", 0)):
        topic, payload = events.kept(number)
        await connection.send(packets.publish(packets.V3, topic, payload if told["present"] else b"", retain=True))
    if "retained" in told:
        # The broker has received them when it answers.
        await connection.send(packets.PINGREQ)
        await connection.until(13)
    else:
        await connection.send(packets.publish(packets.V3, TOPIC, b"hostile control", qos=1))
        await connection.until(4)
    report.tell("outcome", tried=1, through=0)


if __name__ == "__main__":
    asyncio.run(main())
