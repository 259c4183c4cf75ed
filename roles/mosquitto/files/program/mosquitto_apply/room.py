# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk space for a broker's store, and the last save that was whole.

Mosquitto 2.0 ignores errors after the messages of a save, so that on a full disk a truncated mosquitto.db replaces a good one.
"""

from __future__ import annotations

import os
import pathlib
import re
import time

from mosquitto_apply import snapshot
from mosquitto_apply.problem import Problem
from mosquitto_apply.records import Damaged, UnknownVersion
from mosquitto_apply.sets import sync

MIB = 1 << 20
VARIABLE = "mosquitto_persistence_reserve"
SETTING = re.compile(r"X-StoreReserve=(\d+)")


def reserve(unit: str) -> int:
    """The disk space in bytes that a broker's unit wants in reserve."""
    found = SETTING.search(unit)
    return int(found[1]) * MIB if found else 0


def free(folder: pathlib.Path) -> int:
    """The bytes that a broker can still write on the file system of a directory."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def see_size(folder: pathlib.Path, wanted: int) -> None:
    """Fail if the reserve is larger than the file system."""
    if wanted and folder.is_dir():
        status = os.statvfs(folder)
        size = status.f_blocks * status.f_frsize
        if wanted > size:
            raise Problem(
                f"{VARIABLE}: {wanted // MIB} MiB are more than the file system of {folder} has, which are {size // MIB} MiB"
            )


def shortage(path: pathlib.Path, wanted: int, *, writes_all: bool) -> str:
    """The message for a disk with too little space, else empty.

    The limit is the reserve. Where each save writes a new file, space for two saves is added: the kept save needs its own.
    """
    try:
        left = free(path.parent)
        needed = wanted + 2 * (path.stat().st_size if writes_all and path.exists() else 0)
    except OSError:
        return ""
    if not wanted or left >= needed:
        return ""
    return (
        f"The file system of {path} has {left // MIB} MiB left, less than the {-(-needed // MIB)} MiB that {VARIABLE}"
        f" ({wanted // MIB} MiB){' and two saves need' if writes_all else ' needs'}. Without room a crash loses what clients sent. Make room."
    )


def kept(path: pathlib.Path) -> pathlib.Path:
    """The path of the last whole save: a hard link to the file, which Mosquitto never writes to again."""
    return path.with_name(f"{path.name}.kept")


def moment(path: pathlib.Path) -> str:
    """The time when a file was written."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(path.stat().st_mtime))


def check(path: pathlib.Path) -> None:
    """Fail unless a save is whole."""
    with path.open("rb") as file:
        for _record in snapshot.read(file):
            pass


def keep(path: pathlib.Path) -> str:
    """Keep the newest save if it is whole; return a message if it is not."""
    # The broker may replace the file while it is read.
    last = kept(path)
    new = last.with_name(f"{last.name}.new")
    new.unlink(missing_ok=True)
    try:
        new.hardlink_to(path)
    except FileNotFoundError:
        return ""
    try:
        if not (last.exists() and new.samefile(last)):
            check(new)
            new.replace(last)
            sync(path.parent)
    except (Damaged, UnknownVersion) as exc:
        earlier = f"The last whole one is of {moment(last)}: {last}" if last.exists() else "There is no earlier one"
        return f"The broker could not write a whole {path}: {exc}. {earlier}."
    finally:
        new.unlink(missing_ok=True)
    return ""
