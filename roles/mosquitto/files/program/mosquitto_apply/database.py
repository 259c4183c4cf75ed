# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, read and write mosquitto.sqlite3, in the format of C(plugins/persist-sqlite) of Mosquitto 2.1."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import sqlite3
import struct
import typing as t
import urllib.parse

from mosquitto_apply import command, properties, room
from mosquitto_apply.records import Client, Damaged, Delivery, Message, Record, Retained, Subscription, UnknownVersion

# SQLite's errors for a file that it cannot read as a database. Other errors are not caused by the file.
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
KNOWN_VERSIONS = [(1, 0), (1, 1)]
WAL_HEADER = struct.Struct("!8I")
# SQLite moves changes from the -wal to the database when the -wal has 4 MiB, and then overwrites it from its start.
WAL_RESERVE = 8 * room.MIB
RESERVE = "mosquitto_apply_reserve"
WAL_MAGIC = (0x377F0682, 0x377F0683)
LOW = 0xFFFFFFFF
# The plugin's own statements, for a new database. The column types decide how SQLite stores a text.
TABLES = """
CREATE TABLE base_msgs (store_id INT64 PRIMARY KEY,expiry_time INT64,topic STRING NOT NULL,payload BLOB,source_id STRING,
 source_username STRING,payloadlen INTEGER,source_mid INTEGER,source_port INTEGER,qos INTEGER,retain INTEGER,properties STRING);
CREATE TABLE retains (topic STRING PRIMARY KEY,store_id INT64);
CREATE TABLE clients (client_id TEXT PRIMARY KEY,username TEXT,connection_time INT64,will_delay_time INT64,
 session_expiry_time INT64,listener_port INT,max_packet_size INT,max_qos INT,retain_available INT,
 session_expiry_interval INT,will_delay_interval INT);
CREATE TABLE subscriptions (client_id TEXT NOT NULL,topic TEXT NOT NULL,subscription_options INTEGER,
 subscription_identifier INTEGER,PRIMARY KEY (client_id, topic));
CREATE TABLE client_msgs (client_id TEXT NOT NULL,cmsg_id INT64,store_id INT64,dup INTEGER,direction INTEGER,mid INTEGER,
 qos INTEGER,retain INTEGER,state INTEGER,subscription_identifier INTEGER);
CREATE INDEX client_msgs_client_id ON client_msgs(client_id);
CREATE INDEX client_msgs_store_id ON client_msgs(store_id,client_id);
CREATE INDEX retains_storeid ON retains(store_id);
CREATE TABLE version_info (component TEXT NOT NULL,major INTEGER NOT NULL,minor INTEGER NOT NULL,patch INTEGER NOT NULL);
INSERT INTO version_info VALUES ('database_schema',1,0,0);
"""
ADD_MESSAGE = "INSERT INTO base_msgs VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
ADD_CLIENT = "INSERT INTO clients VALUES (?,?,0,0,?,?,0,2,1,?,0)"
ADD_DELIVERY = "INSERT INTO client_msgs VALUES (?,?,?,?,?,?,?,?,?,?)"
ADD_SUBSCRIPTION = "INSERT OR REPLACE INTO subscriptions VALUES (?,?,?,?)"
ADD_RETAINED = "INSERT OR REPLACE INTO retains SELECT topic, store_id FROM base_msgs WHERE store_id = ?"
MESSAGES = """SELECT store_id, expiry_time, CAST(topic AS TEXT), payload, CAST(source_id AS TEXT), CAST(source_username AS TEXT),
 source_mid, source_port, qos, retain, properties FROM base_msgs ORDER BY rowid"""
CLIENTS = "SELECT client_id, username, session_expiry_time, session_expiry_interval, listener_port FROM clients"
DELIVERIES = """SELECT client_id, store_id, mid, qos, state, retain, dup, direction, subscription_identifier
 FROM client_msgs WHERE client_id = ? ORDER BY rowid"""
SUBSCRIPTIONS = "SELECT client_id, topic, subscription_options, subscription_identifier FROM subscriptions"
RETAINED = "SELECT store_id FROM retains"


@contextlib.contextmanager
def _opened(path: pathlib.Path, mode: str) -> t.Iterator[sqlite3.Connection]:
    """Open a database. Reading includes the changes in its -wal, and changes neither file."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode={mode}", uri=True)
        ) as connection:
            yield connection
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in DAMAGE:
            raise Damaged(str(exc)) from None
        raise OSError(errno.EIO, str(exc)) from None


def wal(path: pathlib.Path) -> pathlib.Path:
    """The file with the changes that are not in the database yet."""
    return path.with_name(f"{path.name}-wal")


def wal_is_damaged(path: pathlib.Path) -> bool:
    """Whether a database has a -wal that SQLite would ignore silently."""
    try:
        with wal(path).open("rb") as file:
            header = file.read(WAL_HEADER.size)
    except FileNotFoundError:
        return False
    if len(header) != WAL_HEADER.size:
        return bool(header)
    words = WAL_HEADER.unpack(header)
    order = ">" if words[0] & 1 else "<"
    first, second = 0, 0
    numbers = struct.unpack(f"{order}6I", header[:24])
    for one, other in zip(numbers[::2], numbers[1::2], strict=True):
        first = first + one + second & LOW
        second = second + other + first & LOW
    return words[0] not in WAL_MAGIC or (first, second) != words[6:]


def check(path: pathlib.Path) -> None:
    """Fail if a database is damaged or of another version. SQLite checks all pages, but not the contents of texts and payloads."""
    size = path.stat().st_size
    if not size:
        raise Damaged("it is empty")
    with _opened(path, "ro") as connection:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise Damaged("; ".join(found))
        # SQLite reads the missing part of a last page as zeros.
        if size % connection.execute("PRAGMA page_size").fetchone()[0]:
            raise Damaged("it ends within a page")
        # Before its first transaction a database has no tables.
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'version_info'").fetchone():
            query = "SELECT major, minor FROM version_info WHERE component = 'database_schema'"
            for version in connection.execute(query):
                if version not in KNOWN_VERSIONS:
                    raise UnknownVersion("schema version " + ".".join(map(str, version)))


def read(path: pathlib.Path) -> t.Iterator[Record]:
    """Read a database, in the order of mosquitto.db."""
    with _opened(path, "ro") as connection:
        for *row, stored in connection.execute(MESSAGES):
            store_id, expiry, topic, payload, source_id, username, *rest = row
            yield Message(
                store_id,
                expiry,
                topic,
                payload or b"",
                source_id or "",
                username or "",
                *rest,
                properties=properties.from_json(stored),
            )
        for client_id, username, expiry, interval, port in connection.execute(CLIENTS).fetchall():
            yield Client(client_id, username or "", expiry, interval & LOW, 0, port)
            for row in connection.execute(DELIVERIES, [client_id]):
                yield Delivery(*row)
        for row in connection.execute(SUBSCRIPTIONS):
            yield Subscription(*row)
        for row in connection.execute(RETAINED):
            yield Retained(*row)


def last_store_id(path: pathlib.Path) -> int:
    """The highest ID of a message."""
    with _opened(path, "ro") as connection:
        return connection.execute("SELECT coalesce(max(store_id), 0) FROM base_msgs").fetchone()[0]


def _signed(number: int) -> int:
    """A 32-bit number as the plugin stores it, which is signed."""
    return number - (LOW + 1) if number >> 31 else number


def _add(connection: sqlite3.Connection, record: Record, number: int) -> None:
    if isinstance(record, Message):
        row = [*record[:3], record.payload or None, record.source_id, record.source_username or None]
        row += [len(record.payload), record.source_mid, record.source_port, record.qos, record.retain]
        connection.execute(ADD_MESSAGE, [*row, properties.to_json(record.properties)])
    elif isinstance(record, Client):
        row = [record.client_id, record.username or None, record.expiry_time, record.port]
        connection.execute(ADD_CLIENT, [*row, _signed(record.expiry_interval)])
    elif isinstance(record, Delivery):
        row = [record.client_id, number, record.store_id, record.dup, record.direction, record.mid, record.qos]
        connection.execute(ADD_DELIVERY, [*row, record.retain, record.state, record.subscription_identifier])
    elif isinstance(record, Subscription):
        connection.execute(ADD_SUBSCRIPTION, record)
    else:
        connection.execute(ADD_RETAINED, record)


def write(path: pathlib.Path, records: t.Iterable[Record]) -> None:
    """Write a new database. It is on the disk when this returns."""
    with _opened(path, "rwc") as connection:
        connection.executescript(f"BEGIN;{TABLES}")
        for number, record in enumerate(records, 1):
            _add(connection, record, number)
        connection.commit()


def _free(path: pathlib.Path) -> int:
    """The size of the free pages of a database in bytes."""
    if not path.exists():
        return 0
    with _opened(path, "ro") as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return pages * size


def _grow(path: pathlib.Path, size: int) -> None:
    """Create free pages of this size in bytes, by filling a table and dropping it."""
    with _opened(path, "rwc") as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # Otherwise each freed page is written once more.
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute(f"DROP TABLE IF EXISTS {RESERVE}")
        connection.execute(f"CREATE TABLE {RESERVE} (piece BLOB)")
        for _piece in range(size // room.MIB):
            connection.execute(f"INSERT INTO {RESERVE} VALUES (zeroblob({room.MIB}))")
        connection.execute(f"DROP TABLE {RESERVE}")


def reserve(path: pathlib.Path, size: int) -> None:
    """Reserve space for changes on a full disk: free pages in the database, and space behind the end of its -wal."""
    missing = size - _free(path)
    has_room = room.free(path.parent) >= missing + 2 * WAL_RESERVE
    if missing > 0 and has_room:
        _grow(path, size)
    # SQLite removes the -wal when the last connection is closed, but not when the broker is killed.
    wal(path).touch()
    result = command.run("fallocate", "--keep-size", f"--length={WAL_RESERVE}", str(wal(path)))
    if result.returncode:
        raise OSError(errno.ENOSPC, result.stderr.strip())
    if missing > 0 and not has_room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
