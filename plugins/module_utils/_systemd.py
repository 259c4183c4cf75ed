# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Decide what a systemd service needs, from what ``systemctl show`` says of it: pure functions."""

from __future__ import annotations

import datetime
import typing as t

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "MainPID",
    "ExecMainStartTimestamp",
    "StatusText",
)

# A service that tells systemd itself when it has read its files again is "reloading" until then.
UP = ("active", "reloading")


def parse_properties(output: str) -> dict[str, str]:
    """Parse the lines ``name=value``.

    Values can be the words of a service's own user. systemd escapes a line feed in them, and no other line break.
    """
    return dict(line.split("=", 1) for line in output.split("\n") if "=" in line)


def parse_timestamp(text: str) -> float | None:
    """Seconds since the epoch from ``systemctl show --timestamp=us+utc``, which writes nothing for never."""
    if not text or text == "n/a":
        return None
    # Without the day of the week, which Python would expect in the language of the host.
    moment = datetime.datetime.strptime(text.partition(" ")[2], "%Y-%m-%d %H:%M:%S.%f UTC")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def needed_action(
    properties: t.Mapping[str, str],
    *,
    restart_files_changed: float,
    reload_files_changed: float,
    last_read: float,
) -> str:
    """Name what brings the service in step with its files: start, restart, reload, or nothing (empty).

    The times are seconds since the epoch, 0 for never: the newest change of the files that each kind of step reads, and the moment
    when the service last read those that a reload reads.
    """
    if properties.get("ActiveState") not in UP:
        return "start"
    started = parse_timestamp(properties.get("ExecMainStartTimestamp", "")) or 0.0
    if restart_files_changed > started:
        return "restart"
    if reload_files_changed > max(started, last_read):
        return "reload"
    return ""
