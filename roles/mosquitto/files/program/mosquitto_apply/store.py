# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a broker's store before the broker starts, as its user, and convert it to the configured format.

A damaged file is set aside, so that the broker starts with its last whole save or without one. After a conversion, the file of
the previous format is set aside, too. Any other problem with a file prevents the start: the broker would start without its data,
and overwrite it.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import sys
import time
import typing as t

from mosquitto_apply import config, database, room, snapshot
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem
from mosquitto_apply.records import Damaged, UnknownVersion
from mosquitto_apply.sets import CONFIG, sync

SNAPSHOT, DATABASE = "mosquitto.db", "mosquitto.sqlite3"
# Suffixes of the files of a database
BESIDE = ("", "-wal", "-shm")
PLUGIN = "mosquitto_persist_sqlite.so"
LIBRARIES = pathlib.Path("/usr/lib")
DAMAGED, CONVERTED = "damaged", "converted"
ASIDE = re.compile(rf"(.+\.({DAMAGED}|{CONVERTED})-[0-9TZ]+)(-wal|-shm)?")
KEPT = 3
# Log levels of sd-daemon(3)
ERROR, WARNING, NOTICE = "<3>", "<4>", "<5>"


def _tell(level: str, text: str) -> None:
    print(f"{level}{text}", file=sys.stderr, flush=True)


def _aside(folder: pathlib.Path, why: str) -> list[str]:
    """The names of files that were set aside, the oldest first."""
    found = {match[1] for path in folder.iterdir() if (match := ASIDE.fullmatch(path.name)) and match[2] == why}
    return sorted(found, key=lambda name: name.rpartition("-")[2])


def set_aside(path: pathlib.Path, why: str, parts: t.Iterable[str] = BESIDE) -> str:
    """Rename a file and the files that belong to it. The newest KEPT files that were set aside stay."""
    folder = path.parent
    name = f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for part in parts:
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{path.name}{part}").rename(folder / f"{name}{part}")
    for old in _aside(folder, why)[:-KEPT]:
        for part in BESIDE:
            (folder / f"{old}{part}").unlink(missing_ok=True)
    sync(folder)
    return name


def damaged(folder: pathlib.Path) -> list[str]:
    """The names of damaged files that are still there."""
    try:
        return _aside(folder, DAMAGED)
    except OSError:
        return []


def _check(path: pathlib.Path) -> None:
    if path.name == DATABASE:
        database.check(path)
    else:
        room.check(path)


def _restore(path: pathlib.Path) -> str:
    """Replace a damaged save by the last whole one; return its time, empty if there is none."""
    last = room.kept(path)
    try:
        room.check(last)
        moment = room.moment(last)
        last.rename(path)
    except (Damaged, UnknownVersion, OSError):
        return ""
    sync(path.parent)
    return moment


def _usable(path: pathlib.Path) -> bool:
    """Whether there is a file that the broker can read. A damaged one is set aside."""
    try:
        _check(path)
    except FileNotFoundError:
        return False
    except Damaged as exc:
        told = f"{path} is damaged: {exc}. It is now {set_aside(path, DAMAGED)}."
        if moment := _restore(path):
            _tell(
                WARNING,
                f"{told} The broker starts with its last whole save, of {moment}. What it stored later is lost, and messages"
                " that it delivered since may come again.",
            )
            return True
        _tell(
            WARNING,
            f"{told} The broker starts without it: sessions, messages that waited for clients and retained messages are lost.",
        )
        return False
    except UnknownVersion as exc:
        raise Problem(f"{path} is of {exc}, which this version cannot read. It stays as it is.") from None
    except OSError as exc:
        raise Problem(f"{path} cannot be read: {exc.strerror}. It stays as it is.") from None
    if path.name == DATABASE and database.wal_is_damaged(path):
        name = set_aside(path, DAMAGED, ["-wal"])
        _tell(
            WARNING,
            f"{database.wal(path)} is damaged. It is now {name}-wal. The latest changes are lost; the database goes on as it was"
            " before them, and may send again what was delivered since.",
        )
    return True


def _convert(source: pathlib.Path, target: pathlib.Path) -> None:
    """Convert a file to the other format. After a crash during the conversion, the source is still in use."""
    new = target.with_name(f"{target.name}.new")
    for part in (*BESIDE, "-journal"):
        new.with_name(f"{new.name}{part}").unlink(missing_ok=True)
    try:
        if target.name == DATABASE:
            with source.open("rb") as file:
                database.write(new, snapshot.read(file))
        else:
            with new.open("xb") as file:
                snapshot.write(file, database.read(source), database.last_store_id(source))
                file.flush()
                os.fsync(file.fileno())
    except (OSError, LookupError, ValueError) as exc:
        new.unlink(missing_ok=True)
        raise Problem(f"{source} cannot be converted to {target}: {exc}. It stays as it is.") from None
    if target.exists():
        # Left over from before an earlier conversion to the other format.
        set_aside(target, CONVERTED)
    new.rename(target)
    sync(target.parent)
    # The last whole save of a file that is no longer used.
    room.kept(source).unlink(missing_ok=True)
    _tell(NOTICE, f"{source} is converted to {target}. It is now {set_aside(source, CONVERTED)}.")


def location(lines: t.Iterable[config.Line]) -> pathlib.Path | None:
    """The directory that a broker stores in, None if it stores nothing."""
    lines = [*lines]
    stores = config.values(lines, "persistence")[-1:] == ["true"] or uses_plugin(lines)
    folders = config.values(lines, "persistence_location")
    return pathlib.Path(folders[-1]) if stores and folders else None


def uses_plugin(lines: t.Iterable[config.Line]) -> bool:
    """Whether the broker stores with Mosquitto's SQLite plugin."""
    return any(value.endswith(f"/{PLUGIN}") for value in config.values(lines, "plugin"))


def _live(instance: Instance) -> tuple[list[config.Line], int]:
    """The lines of the broker's live configuration, and the reserve in bytes."""
    lines = config.parse((instance.live / CONFIG).read_text(encoding="utf-8"))
    return lines, room.reserve(instance.unit_file.read_text(encoding="utf-8"))


def prepare(instance: Instance) -> None:
    """Check, convert and reserve the store before the broker starts."""
    os.umask(0o077)
    lines, reserve = _live(instance)
    folder = location(lines)
    if folder is None:
        return
    used, other = folder / SNAPSHOT, folder / DATABASE
    if uses_plugin(lines):
        used, other = other, used
    if _usable(other):
        _convert(other, used)
    else:
        _usable(used)
    if used.name == DATABASE and reserve:
        try:
            database.reserve(used, reserve)
        except OSError as exc:
            _tell(ERROR, f"{used} cannot have {room.VARIABLE}: {exc.strerror}. On a full disk the broker stores less.")


def watch(instance: Instance) -> None:
    """Log a shortage of disk space, and keep the newest whole save. A timer runs this."""
    lines, reserve = _live(instance)
    folder = location(lines)
    if folder is None or not reserve:
        return
    try:
        found = [] if uses_plugin(lines) else [room.keep(folder / SNAPSHOT)]
    except OSError as exc:
        found = [f"{folder / SNAPSHOT} cannot be kept: {exc.strerror}."]
    for told in filter(None, [*found, _shortage(folder, lines, reserve)]):
        _tell(ERROR, told)


def see_reserve(lines: t.Iterable[config.Line], unit: str) -> None:
    """Fail if the reserve is larger than the file system."""
    if folder := location(lines):
        room.see_size(folder, room.reserve(unit))


def _shortage(folder: pathlib.Path, lines: t.Sequence[config.Line], reserve: int) -> str:
    writes_all = not uses_plugin(lines)
    return room.shortage(folder / (SNAPSHOT if writes_all else DATABASE), reserve, writes_all=writes_all)


def warnings(lines: t.Sequence[config.Line], unit: str) -> list[str]:
    """Warnings for the operator about a broker's store."""
    folder = location(lines)
    if folder is None:
        return []
    found = [
        f"{folder / name} was damaged. The broker was started with an earlier save or without one, and sessions and messages were"
        " lost. Its log of that time says which. Remove the file when you do not need it any more."
        for name in damaged(folder)
    ]
    if "X-StoreMethod=auto\n" in unit and not uses_plugin(lines) and any(LIBRARIES.glob(f"*/mosquitto/{PLUGIN}")):
        found.append(
            f"{folder / SNAPSHOT} is still in use, although Mosquitto's SQLite plugin is installed by now. A crash loses more"
            " than it has to. Run the role to convert it."
        )
    return [*found, *filter(None, [_shortage(folder, lines, room.reserve(unit))])]
