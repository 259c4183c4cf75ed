# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The regular publisher's events. Pure functions."""

from __future__ import annotations

import time

TOPIC = "gerrit/openstack/nova/comment-added"
MARK = b"honest "
SIZE = 2048


def event(number: int) -> bytes:
    """An event of a typical size, with the time at which it was made."""
    return (MARK + f"{number} {time.time()} ".encode()).ljust(SIZE, b"x")


# Of retained messages of the regular publisher
KEPT, KEPT_SIZE = b"kept ", 1024


def kept(number: int) -> tuple[str, bytes]:
    """A retained message."""
    return f"gerrit/hostile/kept/{number}", (KEPT + str(number).encode()).ljust(KEPT_SIZE, b"x")


def read(payload: bytes) -> tuple[int, float] | None:
    """Number and time of a regular event, or None for other messages."""
    if not payload.startswith(MARK):
        return None
    number, moment = payload.split(b" ", 3)[1:3]
    return int(number), float(moment)
