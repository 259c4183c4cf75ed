# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handling of stored sessions and messages before a broker starts."""

from __future__ import annotations

import contextlib
import io
import itertools
import sqlite3
import struct
from pathlib import Path

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets
from hypothesis import given
from hypothesis import strategies as st
from mosquitto_apply import database, properties, snapshot, store
from mosquitto_apply.problem import Problem
from mosquitto_apply.records import Client, Damaged, Message, UnknownVersion

REAL = (Path(__file__).parents[2] / "fixtures/mosquitto.db").read_bytes()
HEAD = len(snapshot.MAGIC) + snapshot.HEADER.size
PERSISTENCE = "persistence true\npersistence_location {}/\n"
SQLITE = "persistence false\nplugin /usr/lib/mosquitto_persist_sqlite.so\npersistence_location {}/\n"


def records_of(content):
    return [*snapshot.read(io.BytesIO(content))]


def ends_of_chunks():
    """The ends of complete chunks of the real file, determined without the tested code."""
    places, place = [], HEAD
    while place < len(REAL):
        place += 8 + struct.unpack_from("!I", REAL, place + 4)[0]
        places.append(place)
    return places


def test_a_truncated_file_is_damaged_unless_it_ends_with_a_chunk():
    """A file does not contain the number of its chunks."""
    found = []
    for length in range(len(REAL) + 1):
        try:
            records_of(REAL[:length])
            found.append(length)
        except Damaged:
            pass
    assert found == ends_of_chunks()


def test_the_records_of_a_real_file():
    found = records_of(REAL)
    assert {(record.client_id, record.username) for record in found if isinstance(record, Client)} == {
        ("five", ""),
        ("three", ""),
    }
    messages = {record.topic: record for record in found if isinstance(record, Message)}
    assert messages["t/bin"].payload == bytes(range(256)) * 5
    assert messages["t/empty"].payload == b""
    assert b"text/plain" in messages["t/props"].properties
    assert messages["t/expiry"].expiry_time > 0


@given(st.binary(max_size=200), st.sampled_from([b"", REAL[:HEAD], REAL[: ends_of_chunks()[0]], REAL]))
def test_garbage_is_damage_or_an_unknown_version(garbage, start):
    try:
        records_of(start + garbage)
    except (Damaged, UnknownVersion):
        return
    assert not garbage or start


@given(st.integers(0, len(REAL) - 1), st.integers(1, 255))
def test_a_changed_byte_causes_no_other_error(place, change):
    content = bytearray(REAL)
    content[place] ^= change
    with contextlib.suppress(Damaged, UnknownVersion):
        records_of(bytes(content))


def test_a_chunk_that_is_longer_than_the_file_is_damage():
    with pytest.raises(Damaged, match="it ends within a chunk"):
        records_of(REAL + snapshot.CHUNK.pack(99, 2**32 - 1))


@pytest.mark.parametrize("version", [2, 5, 7])
def test_another_version_is_not_damage(version):
    with pytest.raises(UnknownVersion, match=f"version {version}"):
        records_of(snapshot.MAGIC + snapshot.HEADER.pack(0, version) + REAL[HEAD:])


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
VALUES = {
    "byte": st.integers(0, 255),
    "int16": st.integers(0, 65535),
    "int32": st.integers(0, 2**32 - 1),
    "varint": st.integers(0, 2**28 - 1),
    "string": TEXT,
    "binary": st.binary(max_size=20),
    "pair": st.tuples(TEXT, TEXT),
}
PROPERTY = st.sampled_from(sorted(properties.NAMES)).flatmap(
    lambda number: st.tuples(st.just(number), VALUES[packets.PROPERTIES[number]])
)


@given(st.lists(PROPERTY, max_size=5))
def test_properties_are_the_same_after_json(found):
    content = packets.write_properties(found)
    assert [*properties._read(content)] == found
    assert properties.from_json(properties.to_json(content)) == content
    assert properties.strip(properties.with_length(content)) == content


def without_last_mid(found):
    """The plugin does not store the last message id of a session."""
    return [record._replace(last_mid=0) if isinstance(record, Client) else record for record in found]


def test_both_formats_store_the_same_records(tmp_path):
    before = records_of(REAL)
    path = tmp_path / "mosquitto.sqlite3"
    database.write(path, before)
    database.check(path)
    after = [*database.read(path)]
    assert sorted(map(repr, after)) == sorted(map(repr, without_last_mid(before)))
    written = io.BytesIO()
    snapshot.write(written, before, 1)
    assert records_of(written.getvalue()) == before
    assert len(written.getvalue()) == len(REAL)


@pytest.fixture
def folder(instance, tmp_path):
    """The directory in which the broker of the fixture stores data."""
    found = tmp_path / "stored"
    found.mkdir()
    instance.live.mkdir()
    return found


def prepare(instance, folder, text):
    (instance.live / "mosquitto.conf").write_text(text.format(folder), encoding="utf-8")
    store.prepare(instance)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make_database(folder):
    """A database with changes that are only in its -wal."""
    path = folder / "mosquitto.sqlite3"
    database.write(path, records_of(REAL))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("INSERT INTO subscriptions VALUES ('five', 'late/#', 1, 0)")
    connection.commit()
    content = {part: path.with_name(path.name + part).read_bytes() for part in store.BESIDE}
    connection.close()
    for part, text in content.items():
        path.with_name(path.name + part).write_bytes(text)
    return path


@pytest.mark.parametrize("content", [b"", REAL[:-1], REAL[:10], bytes(len(REAL)), b"garbage"])
def test_a_damaged_file_is_set_aside(instance, folder, capsys, content):
    (folder / "mosquitto.db").write_bytes(content)
    prepare(instance, folder, PERSISTENCE)
    [name] = names(folder)
    assert name.startswith("mosquitto.db.damaged-")
    assert (folder / name).read_bytes() == content
    said = capsys.readouterr().err
    assert said.startswith("<4>") and name in said and "are lost" in said
    assert store.damaged(folder) == [name]


def test_the_last_three_damaged_files_are_kept(instance, folder, monkeypatch):
    moments = itertools.count(1)
    monkeypatch.setattr(store.time, "strftime", lambda *_arguments: f"20300101T00000{next(moments)}Z")
    for number in range(5):
        (folder / "mosquitto.db").write_bytes(b"%d" % number)
        prepare(instance, folder, PERSISTENCE)
    assert [(folder / name).read_bytes() for name in names(folder)] == [b"2", b"3", b"4"]


@pytest.mark.parametrize("text", [PERSISTENCE, SQLITE, "persistence false\npersistence_location {}/\n"])
def test_nothing_is_done_without_a_file(instance, folder, text):
    prepare(instance, folder, text)
    assert names(folder) == []


def test_an_intact_file_is_kept(instance, folder, capsys):
    (folder / "mosquitto.db").write_bytes(REAL)
    prepare(instance, folder, PERSISTENCE)
    assert names(folder) == ["mosquitto.db"]
    assert capsys.readouterr().err == ""


def test_a_file_of_another_version_prevents_the_start(instance, folder):
    newer = snapshot.MAGIC + snapshot.HEADER.pack(0, 7) + REAL[HEAD:]
    (folder / "mosquitto.db").write_bytes(newer)
    with pytest.raises(Problem, match="version 7"):
        prepare(instance, folder, PERSISTENCE)
    assert (folder / "mosquitto.db").read_bytes() == newer


@pytest.mark.parametrize(("text", "name"), [(PERSISTENCE, "mosquitto.db"), (SQLITE, "mosquitto.sqlite3")])
def test_an_unreadable_file_prevents_the_start(instance, folder, text, name):
    (folder / name).mkdir()
    with pytest.raises(Problem, match="cannot be read"):
        prepare(instance, folder, text)
    assert names(folder) == [name]


@pytest.mark.parametrize("damage", ["empty", "zeros", "cut", "byte", "page"])
def test_a_damaged_database_is_set_aside_with_its_other_files(instance, folder, damage):
    path = make_database(folder)
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "zeros": bytes(len(good)),
        "cut": good[: len(good) // 8192 * 4096],
        "byte": good[:-1],
        "page": good[:4096] + b"\xff" * 8192 + good[12288:],
    }
    # The pages of the -wal would replace those of the database.
    database.wal(path).unlink()
    path.write_bytes(bad[damage])
    prepare(instance, folder, SQLITE)
    assert not path.exists()
    [name] = store.damaged(folder)
    assert (folder / name).read_bytes() == bad[damage]
    assert (folder / f"{name}-shm").exists()
    assert not path.with_name("mosquitto.sqlite3-shm").exists()


def test_an_intact_database_is_kept_with_its_wal(instance, folder):
    path = make_database(folder)
    before = database.wal(path).read_bytes()
    prepare(instance, folder, SQLITE)
    assert database.wal(path).read_bytes() == before
    assert "late/#" in {record.topic for record in database.read(path) if hasattr(record, "topic")}
    assert store.damaged(folder) == []


@pytest.mark.parametrize("wal", [b"\0" * 4096, b"short", b"\xff" * 64])
def test_a_damaged_wal_is_set_aside_and_the_database_is_kept(instance, folder, capsys, wal):
    path = make_database(folder)
    database.wal(path).write_bytes(wal)
    prepare(instance, folder, SQLITE)
    [name] = store.damaged(folder)
    assert (folder / f"{name}-wal").read_bytes() == wal
    assert path.exists()
    assert "latest changes are lost" in capsys.readouterr().err


def test_a_database_of_a_newer_version_prevents_the_start(instance, folder):
    path = folder / "mosquitto.sqlite3"
    database.write(path, records_of(REAL))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE version_info SET major = 2")
    connection.close()
    with pytest.raises(Problem, match=r"schema version 2\.0"):
        prepare(instance, folder, SQLITE)
    assert names(folder) == ["mosquitto.sqlite3"]


def test_a_store_is_converted_to_the_other_format_and_back(instance, folder):
    (folder / "mosquitto.db").write_bytes(REAL)
    # Left over from an earlier use of the plugin.
    (folder / "mosquitto.sqlite3").write_bytes(b"old")
    prepare(instance, folder, SQLITE)
    used = [name for name in names(folder) if ".converted-" not in name]
    assert used == ["mosquitto.sqlite3"]
    with sqlite3.connect(folder / used[0]) as connection:
        connection.execute("INSERT INTO subscriptions VALUES ('five', 'late/#', 1, 0)")
    connection.close()
    prepare(instance, folder, PERSISTENCE)
    assert [name for name in names(folder) if ".converted-" not in name] == ["mosquitto.db"]
    found = records_of((folder / "mosquitto.db").read_bytes())
    assert len(found) == len(records_of(REAL)) + 1
    assert "late/#" in {record.topic for record in found if hasattr(record, "topic")}


def test_a_full_disk_prevents_the_start_and_loses_nothing(instance, folder, monkeypatch):
    (folder / "mosquitto.db").write_bytes(REAL)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "write", full)
    with pytest.raises(Problem, match="No space left on device"):
        prepare(instance, folder, SQLITE)
    assert names(folder) == ["mosquitto.db"]
