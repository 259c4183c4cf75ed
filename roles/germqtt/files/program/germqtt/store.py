# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: every line of the stream waits here, in its order, until the broker has acknowledged it."""

from __future__ import annotations

import contextlib
import glob
import logging
import pathlib
import secrets
import sqlite3
import time
import typing as t

from . import config, events

log = logging.getLogger(__name__)

MIB = 1024 * 1024
DAY = 24 * 60 * 60
# Where too much waits, or too long, room is made for a while, so that one message tells of many lost events.
DROPPED_TO = 0.95
# Of long lines so much is read at a time.
TAKEN_BYTES = MIB
# Pages of 4 KiB that are given back to the file system at a time, once nothing waits.
FREED_PAGES = 4096
COUNTERS = ("stored", "acknowledged", "dropped", "unusable", "refused", "gaps")
# `made` is when Gerrit made the event, as far as the line says so; `gap` tells messages of our own from Gerrit's lines, and
# theirs are from `made` to `received`.
SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, made INTEGER NOT NULL, received REAL NOT NULL, gap INTEGER NOT NULL,
    line BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value NOT NULL);
"""
INSERT = "INSERT INTO waiting VALUES (?, ?, ?, ?, ?)"


class Row(t.NamedTuple):
    """A line of the stream, or the message of a gap."""

    id: int
    gap: int
    line: bytes


class Store:
    """What waits. Whatever writes may raise sqlite3.OperationalError, and has then changed nothing: the disk is full."""

    def __init__(self, options: config.Store) -> None:
        self._most_bytes = options.max_mib * MIB
        self._longest_wait = options.max_days * DAY
        self._db = sqlite3.connect(options.path, isolation_level=None)
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        # NORMAL outlives an end of the process, FULL also one of the host.
        self._db.execute(f"PRAGMA synchronous={'FULL' if options.fsync else 'NORMAL'}")
        # Seldom, since what is published meanwhile waits for the disk.
        self._db.execute("PRAGMA wal_autocheckpoint=2000")
        self._db.execute(f"PRAGMA journal_size_limit={8 * MIB}")
        [problem] = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        self._db.executescript(SCHEMA)
        self.waiting, self._bytes = self._db.execute("SELECT count(*), total(length(line)) FROM waiting").fetchone()
        self._kept: dict[str, t.Any] = dict(self._db.execute("SELECT name, value FROM kept"))
        # Rows up to here are with the broker; those that it has acknowledged but that could not be removed yet.
        self._position = 0
        self._acknowledged: set[int] = set()
        self.open_gap()

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> t.Iterator[None]:
        """All or nothing, also of what is remembered here of the file's contents."""
        before = self.waiting, self._bytes, dict(self._kept)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            changed = [item for item in self._kept.items() if before[2].get(item[0]) != item[1]]
            self._db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", changed)
            self._db.execute("COMMIT")
        except BaseException:
            self.waiting, self._bytes, self._kept = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def count(self, name: str) -> int:
        """One of COUNTERS, since the store was made."""
        return self._kept.get(name, 0)

    def _add_to(self, name: str, number: int) -> None:
        self._kept[name] = self.count(name) + number

    @property
    def last_event(self) -> float | None:
        """When the last line came."""
        return self._kept.get("last_event")

    def client_id(self) -> str:
        """What the broker knows us by: always the same once it could be kept, and nobody can guess it."""
        client_id = self._kept.get("client_id", f"germqtt-{secrets.token_hex(16)}")
        if "client_id" not in self._kept:
            with contextlib.suppress(sqlite3.OperationalError), self._transaction():
                self._kept["client_id"] = client_id
        return client_id

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def add(self, lines: t.Sequence[bytes], now: float) -> None:
        """Store lines of the stream."""
        made = [events.created(line) or now for line in lines]
        with self._transaction():
            rows = ((None, int(moment), now, False, line) for moment, line in zip(made, lines, strict=True))
            self._db.executemany(INSERT, rows)
            self.waiting += len(lines)
            self._bytes += sum(map(len, lines))
            self._add_to("stored", len(lines))
            self._kept["last_event"] = now
            if not self._gap_is_open:
                # What comes after this line was made after it.
                self._kept["heard"] = min(made[-1], now)
            elif not self.has_heard:
                self._kept["heard"] = min(made[0], now)

    @property
    def has_heard(self) -> bool:
        """Whether there ever was a stream."""
        return "heard" in self._kept

    @property
    def gap_is_open(self) -> bool:
        """Whether events may be missing since the last one, which no message tells of yet. So it is at the start."""
        return self._gap_is_open

    def open_gap(self) -> None:
        """From the last line on, events may be missing. What is stored meanwhile does not narrow that down."""
        self._gap_is_open = True
        # There is nothing to tell of before the first stream ever.
        self._gap_is_one = self.has_heard

    def close_gap(self, until: float, reason: str) -> None:
        """Until this moment events may be missing: store the message, if there ever was a stream before."""
        with self._transaction():
            if self._gap_is_one:
                self._insert_gap(None, self._kept["heard"], until, reason)
            self._kept["heard"] = until
        self._gap_is_open = False

    def lost_everything(self, now: float, reason: str) -> None:
        """Whatever waited is lost, and nobody knows what that was."""
        with self._transaction():
            self._insert_gap(None, now - self._longest_wait, now, reason)
            self._kept["heard"] = now
        self.open_gap()

    def _insert_gap(self, id: int | None, start: float, end: float, reason: str, number: int | None = None) -> bytes:
        line = events.gap(start, end, reason, number)
        self._db.execute(INSERT, [id, int(start), end, True, line])
        self.waiting += 1
        self._bytes += len(line)
        self._add_to("gaps", 1)
        return line

    # ---- what goes out ----------------------------------------------------------------------------------------------

    def take(self, most: int) -> list[Row]:
        """The next rows, which then count as being with the broker."""
        query = "SELECT id, gap, line FROM waiting WHERE id > ? ORDER BY id"
        rows: list[Row] = []
        size = 0
        with contextlib.closing(self._db.execute(query, [self._position])) as found:
            for row in map(Row._make, found):
                self._position = row.id
                if row.id not in self._acknowledged:
                    rows.append(row)
                    size += len(row.line)
                if len(rows) == most or size >= TAKEN_BYTES:
                    break
        return rows

    def rewind(self) -> None:
        """What is not acknowledged is not with the broker any more."""
        self._position = 0

    def acknowledge(self, ids: t.Iterable[int] = ()) -> None:
        """The broker has these rows: remove them, and those that could not be removed before."""
        self._acknowledged.update(ids)
        if self._acknowledged:
            with self._transaction():
                self._remove(self._acknowledged, "acknowledged")
            self._acknowledged = set()

    def put_away(self, row: Row, counter: str) -> Row | None:
        """Remove a row that is not published, and count it as unusable or refused.

        The message of a gap takes the place of a refused event, and is returned.
        """
        with self._transaction():
            [(made, received)] = self._db.execute("SELECT made, received FROM waiting WHERE id = ?", [row.id])
            self._remove([row.id], counter)
            if counter == "unusable":
                return None
            line = self._insert_gap(row.id, made, received, "the broker does not take it", 1)
            return Row(row.id, True, line)

    def _remove(self, ids: t.Collection[int], counter: str) -> None:
        for id in ids:
            [(size, gap)] = self._db.execute("DELETE FROM waiting WHERE id = ? RETURNING length(line), gap", [id])
            self.waiting -= 1
            self._bytes -= size
            self._add_to(counter, not gap)

    # ---- what is too much -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """What has to be done once in a second."""
        self.acknowledge()
        self._drop_excess(now)
        if not self.waiting and self._db.execute("PRAGMA freelist_count").fetchone()[0] > FREED_PAGES:
            self._db.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")  # execute() would free a single page

    def _drop_excess(self, now: float) -> None:
        """Drop the oldest lines that are not with the broker, if they are too many or too old."""
        last = self._last_excess(now)
        if last is None:
            return
        span = "FROM waiting WHERE id > ? AND id <= ? AND gap = 0"
        where = [self._position, last]
        with self._transaction():
            query = f"SELECT count(*), sum(length(line)), min(min(made, received)), max(max(made, received)) {span}"
            number, size, start, end = self._db.execute(query, where).fetchone()
            self._db.execute(f"DELETE {span}", where)
            self.waiting -= number
            self._bytes -= size
            self._add_to("dropped", number)
            # In the place of the last one, so that subscribers hear of it in between.
            self._insert_gap(last, start, end, "too much had waited", number)
        log.error("%d events were dropped: too much had waited, or too long", number)

    def _last_excess(self, now: float) -> int | None:
        """The newest line that has to go."""
        excess = self._bytes - DROPPED_TO * self._most_bytes if self._bytes > self._most_bytes else 0
        limit = now - self._longest_wait
        last = None
        query = "SELECT id, received, length(line) FROM waiting WHERE id > ? AND gap = 0 ORDER BY id"
        with contextlib.closing(self._db.execute(query, [self._position])) as rows:
            for id, received, size in rows:
                if received < limit:
                    limit = now - DROPPED_TO * self._longest_wait
                elif excess <= 0:
                    break
                last = id
                excess -= size
        return last


def _asides(path: pathlib.Path) -> list[pathlib.Path]:
    """The stores that could not be read."""
    return list(path.parent.glob(f"{glob.escape(path.name)}.corrupt-*"))


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    while path.with_name(name) in _asides(path):
        name += "x"
    # The log first: without its file sqlite would delete it.
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    return path.with_name(name)


def open_store(options: config.Store, file: str) -> Store:
    """Open the store, or make one. One that cannot be read is kept aside. Raises ConfigError; `file` is the configuration's."""
    try:
        kept = Store(options)
    except sqlite3.OperationalError as exc:
        if "unable to open" in str(exc) or "readonly" in str(exc):
            raise config.ConfigError(f"{file}: [store] path: {options.path}: {exc}") from None
        raise  # a full disk, or another germqtt that is about to end: both pass
    except sqlite3.DatabaseError as exc:
        try:
            aside = _set_aside(options.path)
        except OSError as error:
            raise config.ConfigError(f"{file}: [store] path: {options.path}: {error.strerror}") from None
        problem = " ".join(str(exc).split())
        log.error("the store %s cannot be read (%s); it is kept as %s", options.path, problem, aside)
        kept = Store(options)
    # Also if it was not this germqtt that has put it aside: that one may have been killed.
    if not kept.has_heard and _asides(options.path):
        try:
            kept.lost_everything(time.time(), "the store could not be read")
        except sqlite3.OperationalError:
            kept.close()
            raise
    return kept
