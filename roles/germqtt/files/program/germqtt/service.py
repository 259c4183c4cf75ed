# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of germqtt together, and tells systemd how they do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import time

from . import config, publisher, status, store, stream


async def run(options: config.Config, kept: store.Store) -> None:
    """Publish the stream until a signal ends it."""
    shown = status.Status(kept)
    sender = publisher.Publisher(options.mqtt, kept, shown)
    reader = stream.Stream(options.gerrit, kept, shown, changed=sender.pump, told=sender.tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, reader.stop)
    status.notify(ready=1)
    # What one of them does not expect ends all of them, and systemd starts germqtt again.
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(kept, shown, sender))
        reading = group.create_task(reader.run())
        sending = group.create_task(sender.run())
        await reading
        sender.stop()
        await sending
        ticking.cancel()


async def _tick(kept: store.Store, shown: status.Status, sender: publisher.Publisher) -> None:
    """Once in a second: a loop that gets here is not stuck."""
    while True:
        with contextlib.suppress(sqlite3.OperationalError):  # the disk is full, as the stream has said
            kept.tick(time.time())
        sender.tick()
        status.notify(status=shown.line(), watchdog=1)
        await asyncio.sleep(1)
