# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: every line of the stream waits here, in order, until the broker has acknowledged it.

The last acknowledged lines are kept, in case the broker loses them.
"""

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
# Above a limit, drop events down to this share of it, so that one gap message covers many lost events.
DROPPED_TO = 0.95
# Bytes of lines after which take() reads no more rows.
TAKEN_BYTES = MIB
# Pages of 4 KiB that are returned to the file system at a time, once no row waits.
FREED_PAGES = 4096
COUNTERS = ("stored", "acknowledged", "repeated", "dropped", "unusable", "refused", "gaps")
# Seconds after which a session may have expired, so that a missing session is no sign of a loss at the broker.
FORGOTTEN_AFTER = 24 * 60 * 60
# `published` has the acknowledged rows that are kept, with their publish numbers. `made` is the time when Gerrit created the event,
# if the line has it. `gap` marks gap messages, which cover the time from `made` to `received`.
SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, made INTEGER NOT NULL, received REAL NOT NULL, gap INTEGER NOT NULL,
    line BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS published (id INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value NOT NULL);
"""
WAITS = "id NOT IN (SELECT id FROM published)"
INSERT = "INSERT INTO waiting VALUES (?, ?, ?, ?, ?)"


class Row(t.NamedTuple):
    """A line of the stream, or a gap message."""

    id: int
    gap: int
    line: bytes


class Store:
    """The waiting rows. Methods that write may raise sqlite3.OperationalError for a full disk, and have then changed nothing."""

    def __init__(self, options: config.Store) -> None:
        self._most_bytes = options.max_mib * MIB
        self._longest_wait = options.max_days * DAY
        self._db = sqlite3.connect(options.path, isolation_level=None)
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        # NORMAL survives a crash of the process, FULL also a crash of the host.
        self._db.execute(f"PRAGMA synchronous={'FULL' if options.fsync else 'NORMAL'}")
        # Checkpoint rarely, since publishing waits for the disk meanwhile.
        self._db.execute("PRAGMA wal_autocheckpoint=2000")
        self._db.execute(f"PRAGMA journal_size_limit={8 * MIB}")
        [problem] = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        self._db.executescript(SCHEMA)
        query = f"SELECT count(*), total(length(line)) FROM waiting WHERE {WAITS}"
        self.waiting, self._bytes = self._db.execute(query).fetchone()
        self._kept: dict[str, t.Any] = dict(self._db.execute("SELECT name, value FROM kept"))
        # The number of acknowledged rows to keep, and these rows in the order of their publish numbers, with their sizes.
        self.keep = 0
        query = "SELECT id, number, length(line) FROM published JOIN waiting USING (id) ORDER BY number"
        self._published = {id: (number, size) for id, number, size in self._db.execute(query)}
        # The publish number of the last row.
        self.number = max((number for number, _size in self._published.values()), default=0)
        # Rows up to this position were sent to the broker, with these publish numbers; then the acknowledged rows that could
        # not be recorded yet.
        self._position = 0
        self._numbers: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self.open_gap()

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> t.Iterator[None]:
        """Run a transaction. After a failure, the values that are cached here are also as before."""
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
        """The value of one of COUNTERS, since the store was created."""
        return self._kept.get(name, 0)

    def _add_to(self, name: str, number: int) -> None:
        self._kept[name] = self.count(name) + number

    @property
    def last_event(self) -> float | None:
        """The time when the last line was received."""
        return self._kept.get("last_event")

    def client_id(self) -> str:
        """germqtt's client ID. It is unguessable, and always the same once it could be stored."""
        client_id = self._kept.get("client_id", f"germqtt-{secrets.token_hex(16)}")
        if "client_id" not in self._kept:
            with contextlib.suppress(sqlite3.OperationalError), self._transaction():
                self._kept["client_id"] = client_id
        return client_id

    # ---- received lines ---------------------------------------------------------------------------------------------

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
                # Gerrit creates later events after this one.
                self._kept["heard"] = min(made[-1], now)
            elif not self.has_heard:
                self._kept["heard"] = min(made[0], now)

    @property
    def has_heard(self) -> bool:
        """Whether there ever was a stream."""
        return "heard" in self._kept

    @property
    def gap_is_open(self) -> bool:
        """Whether events may be missing since the last line, without a gap message yet. True at the start."""
        return self._gap_is_open

    def open_gap(self) -> None:
        """Open a gap: events after the last line may be missing. Lines that are stored meanwhile do not shorten it."""
        self._gap_is_open = True
        # Before the first stream ever, there is no gap to report.
        self._gap_is_one = self.has_heard

    def close_gap(self, until: float, reason: str) -> None:
        """Close the gap at this time. Store a gap message, if there ever was a stream before."""
        with self._transaction():
            if self._gap_is_one:
                self._insert_gap(None, self._kept["heard"], until, reason)
            self._kept["heard"] = until
        self._gap_is_open = False

    def lost_everything(self, now: float, reason: str) -> None:
        """Store a gap message for all waiting events: they are lost, and it is unknown which they were."""
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

    # ---- published rows ---------------------------------------------------------------------------------------------

    def take(self, most: int) -> list[Row]:
        """The next rows, which then count as sent to the broker."""
        query = "SELECT id, gap, line FROM waiting WHERE id > ? ORDER BY id"
        rows: list[Row] = []
        size = 0
        with contextlib.closing(self._db.execute(query, [self._position])) as found:
            for row in map(Row._make, found):
                self._position = row.id
                if row.id not in self._acknowledged and row.id not in self._published:
                    self._count_as_published(row.id)
                    rows.append(row)
                    size += len(row.line)
                if len(rows) == most or size >= TAKEN_BYTES:
                    break
        return rows

    def _count_as_published(self, id: int) -> None:
        self.number += 1
        self._numbers[id] = self.number

    def rewind(self) -> None:
        """Count rows without an acknowledgement as not sent."""
        self._position = 0
        self._numbers.clear()

    def acknowledge(self, ids: t.Iterable[int] = ()) -> None:
        """Record these acknowledged rows, and earlier ones that could not be recorded; keep the last ones."""
        self._acknowledged.update((id, self._numbers.pop(id, self.number)) for id in ids)
        if not self._acknowledged:
            return
        published = dict(self._published)
        with self._transaction():
            for id, number in self._acknowledged.items():
                published[id] = number, self._leave(id, "acknowledged")
            old = self._pop_oldest(published)
            added = [(id, number) for id, number in self._acknowledged.items() if id in published]
            self._db.executemany("INSERT INTO published VALUES (?, ?)", added)
            for table in ("published", "waiting"):
                self._db.executemany(f"DELETE FROM {table} WHERE id = ?", old)
            self._kept["acknowledged_at"] = time.time()
        self._published, self._acknowledged = published, {}

    def _pop_oldest(self, published: dict[int, tuple[int, int]]) -> list[tuple[int]]:
        """Remove the oldest published rows, if they are too many or too large; return their IDs."""
        size = sum(size for _number, size in published.values())
        old = []
        while len(published) > self.keep or size > self._most_bytes // 2:
            id = next(iter(published))
            size -= published.pop(id)[1]
            old.append((id,))
        return old

    def is_forgotten(self, found: int | None) -> bool:
        """Whether the broker has lost its store: it has no marker, although the session cannot have expired."""
        return found is None and time.time() - self._kept.get("acknowledged_at", 0) <= FORGOTTEN_AFTER

    def resume(self, found: int | None) -> int:
        """Let acknowledged rows wait again if they were published after the number that the broker remembers, None if it has no marker.

        Returns the number of these rows.
        """
        forgotten = self.is_forgotten(found)
        if found is None:
            # An expired session is no loss.
            found = 0 if forgotten else self.number
        again = [id for id, (number, _size) in self._published.items() if number > found]
        oldest = min((number for number, _size in self._published.values()), default=self.number + 1)
        if again or forgotten:
            with self._transaction():
                for id in again:
                    self._db.execute("DELETE FROM published WHERE id = ?", [id])
                    self._leave(id, "acknowledged", -1)
                self._add_to("repeated", len(again))
                if oldest > found + 1:
                    self._tell_of_lost_events(again, "its store" if forgotten else "what it stored last")
        for id in again:
            del self._published[id]
        self.number = max(self.number, found)
        self._acknowledged = {id: number for id, number in self._acknowledged.items() if number <= found}
        return len(again)

    def _tell_of_lost_events(self, again: t.Sequence[int], what: str) -> None:
        """Store a gap message for offline clients: events before the rows that wait again are lost. The broker keeps events for a day."""
        now = time.time()
        made = self._db.execute("SELECT made FROM waiting WHERE id = ?", [min(again, default=0)]).fetchone()
        reason = f"the broker has lost {what}, with what waited there for clients that were away"
        self._insert_gap(None, now - FORGOTTEN_AFTER, made[0] if made else now, reason)

    def put_away(self, row: Row, counter: str) -> Row | None:
        """Remove a row that is not published, and count it as unusable or refused.

        A gap message takes the place of a refused event, and is returned.
        """
        with self._transaction():
            [(made, received)] = self._db.execute("SELECT made, received FROM waiting WHERE id = ?", [row.id])
            self._leave(row.id, counter)
            self._db.execute("DELETE FROM waiting WHERE id = ?", [row.id])
            line = (
                self._insert_gap(row.id, made, received, "the broker does not take it", 1)
                if counter == "refused"
                else b""
            )
        if not line:
            return None
        self._count_as_published(row.id)
        return Row(row.id, True, line)

    def _leave(self, id: int, counter: str, number: int = 1) -> int:
        """Count a row as no longer waiting, or with -1 as waiting again. Returns its size."""
        [(size, gap)] = self._db.execute("SELECT length(line), gap FROM waiting WHERE id = ?", [id])
        self.waiting -= number
        self._bytes -= number * size
        if not gap:
            self._add_to(counter, number)
        return size

    # ---- limits -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do the periodic work of once a second."""
        self.acknowledge()
        self._drop_excess(now)
        if not self.waiting and self._db.execute("PRAGMA freelist_count").fetchone()[0] > FREED_PAGES:
            self._db.executescript(f"PRAGMA incremental_vacuum({FREED_PAGES})")  # execute() would free a single page

    def _drop_excess(self, now: float) -> None:
        """Drop the oldest lines that were not sent to the broker, if they are too many or too old."""
        last = self._last_excess(now)
        if last is None:
            return
        span = f"FROM waiting WHERE id > ? AND id <= ? AND gap = 0 AND {WAITS}"
        where = [self._position, last]
        with self._transaction():
            query = f"SELECT count(*), sum(length(line)), min(min(made, received)), max(max(made, received)) {span}"
            number, size, start, end = self._db.execute(query, where).fetchone()
            self._db.execute(f"DELETE {span}", where)
            self.waiting -= number
            self._bytes -= size
            self._add_to("dropped", number)
            # In the place of the last dropped line, so that subscribers get the gap message in order.
            self._insert_gap(last, start, end, "too much had waited", number)
        log.error("%d events were dropped: too much had waited, or too long", number)

    def _last_excess(self, now: float) -> int | None:
        """The ID of the newest line that has to be dropped."""
        excess = self._bytes - DROPPED_TO * self._most_bytes if self._bytes > self._most_bytes else 0
        limit = now - self._longest_wait
        last = None
        query = f"SELECT id, received, length(line) FROM waiting WHERE id > ? AND gap = 0 AND {WAITS} ORDER BY id"
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
    """The files of stores that could not be read."""
    return list(path.parent.glob(f"{glob.escape(path.name)}.corrupt-*"))


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    while path.with_name(name) in _asides(path):
        name += "x"
    # The -wal first: without the database, SQLite would delete it.
    for suffix in ("-wal", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    return path.with_name(name)


def open_store(options: config.Store, file: str) -> Store:
    """Open or create the store. An unreadable store is set aside. Raises ConfigError; `file` is the path of the configuration."""
    try:
        kept = Store(options)
    except sqlite3.OperationalError as exc:
        if "unable to open" in str(exc) or "readonly" in str(exc):
            raise config.ConfigError(f"{file}: [store] path: {options.path}: {exc}") from None
        raise  # a full disk, or another germqtt that is about to end: both are temporary
    except sqlite3.DatabaseError as exc:
        try:
            aside = _set_aside(options.path)
        except OSError as error:
            raise config.ConfigError(f"{file}: [store] path: {options.path}: {error.strerror}") from None
        problem = " ".join(str(exc).split())
        log.error("the store %s cannot be read (%s); it is kept as %s", options.path, problem, aside)
        kept = Store(options)
    # Also if an earlier process has set it aside: that one may have been killed before this step.
    if not kept.has_heard and _asides(options.path):
        try:
            kept.lost_everything(time.time(), "the store could not be read")
        except sqlite3.OperationalError:
            kept.close()
            raise
    return kept
