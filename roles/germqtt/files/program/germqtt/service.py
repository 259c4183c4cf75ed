# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the parts of germqtt together, and report their status to systemd."""

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
    # An unexpected exception in one task ends all of them, and systemd restarts germqtt.
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(_tick(kept, shown, sender))
        reading = group.create_task(reader.run())
        sending = group.create_task(sender.run())
        await reading
        sender.stop()
        await sending
        ticking.cancel()


async def _tick(kept: store.Store, shown: status.Status, sender: publisher.Publisher) -> None:
    """Do periodic work once a second, and tell the watchdog that the loop is not stuck."""
    while True:
        with contextlib.suppress(sqlite3.OperationalError):  # the disk is full; the stream has logged that
            kept.tick(time.time())
        sender.tick()
        status.notify(status=shown.line(), watchdog=1)
        await asyncio.sleep(1)
