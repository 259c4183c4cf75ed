# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Free disk space: the warning, the reserve in a database, and the last complete save."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from mosquitto_apply import config, database, room, snapshot, store
from mosquitto_apply.problem import Problem

REAL = (Path(__file__).parents[2] / "fixtures/mosquitto.db").read_bytes()
PERSISTENCE = "persistence true\npersistence_location {}/\n"
SQLITE = "persistence false\nplugin /usr/lib/mosquitto_persist_sqlite.so\npersistence_location {}/\n"
MIB = 1 << 20


@pytest.fixture
def folder(instance, tmp_path):
    """The directory in which the broker of the fixture stores data, with a reserve of 3 MiB."""
    found = tmp_path / "stored"
    found.mkdir()
    instance.live.mkdir()
    instance.unit_file.write_text("[Unit]\nX-StoreMethod=auto\nX-StoreReserve=3\n", encoding="utf-8")
    return found


@pytest.fixture
def disk(monkeypatch):
    """Set how many MiB the disk has free, of 1000."""

    def has(free):
        values = os.statvfs_result((MIB, MIB, 1000, free, free, 0, 0, 0, 0, 255))
        monkeypatch.setattr(room.os, "statvfs", lambda _path: values)

    return has


def configure(instance, folder, text):
    (instance.live / "mosquitto.conf").write_text(text.format(folder), encoding="utf-8")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def save(folder, content):
    """Write a file as Mosquitto does."""
    new = folder / "mosquitto.db.new"
    new.write_bytes(content)
    new.rename(folder / "mosquitto.db")


@pytest.mark.parametrize("cut", [b"", REAL[:100], REAL[:-1]])
def test_a_truncated_save_does_not_replace_the_last_complete_one(instance, folder, capsys, cut):
    configure(instance, folder, PERSISTENCE)
    save(folder, REAL)
    store.watch(instance)
    assert capsys.readouterr().err == ""
    for _save in range(2):
        save(folder, cut)
        store.watch(instance)
    said = capsys.readouterr().err
    assert said.startswith(f"<3>The broker could not write a whole {folder}/mosquitto.db: it ")
    assert f"UTC: {folder}/mosquitto.db.kept." in said
    store.prepare(instance)
    said = capsys.readouterr().err
    assert said.startswith("<4>") and "starts with its last whole save, of 20" in said
    [name] = store.damaged(folder)
    assert (folder / name).read_bytes() == cut
    assert names(folder) == ["mosquitto.db", name]
    assert (folder / "mosquitto.db").read_bytes() == REAL


def test_the_newest_complete_save_is_kept_as_a_hard_link(instance, folder):
    configure(instance, folder, PERSISTENCE)
    for content in (REAL, REAL + REAL[23:], REAL):
        save(folder, content)
        store.watch(instance)
        assert (folder / "mosquitto.db.kept").samefile(folder / "mosquitto.db")
    assert names(folder) == ["mosquitto.db", "mosquitto.db.kept"]


def test_leftovers_of_a_killed_watch_are_replaced(instance, folder):
    configure(instance, folder, PERSISTENCE)
    save(folder, REAL)
    (folder / "mosquitto.db.kept.new").write_bytes(b"left")
    store.watch(instance)
    assert (folder / "mosquitto.db.kept").read_bytes() == REAL
    assert names(folder) == ["mosquitto.db", "mosquitto.db.kept"]


def test_a_damaged_kept_save_is_not_used(instance, folder, capsys):
    configure(instance, folder, PERSISTENCE)
    save(folder, b"cut")
    (folder / "mosquitto.db.kept").write_bytes(b"cut too")
    store.prepare(instance)
    assert "starts without it" in capsys.readouterr().err
    assert not (folder / "mosquitto.db").exists()


def test_a_database_is_made_from_the_last_complete_save(instance, folder):
    """The save is removed, so it is not found when the broker returns to the other format."""
    configure(instance, folder, SQLITE)
    save(folder, REAL[:-1])
    (folder / "mosquitto.db.kept").write_bytes(REAL)
    store.prepare(instance)
    with (Path(__file__).parents[2] / "fixtures/mosquitto.db").open("rb") as file:
        assert len([*database.read(folder / "mosquitto.sqlite3")]) == len([*snapshot.read(file)])
    assert not (folder / "mosquitto.db.kept").exists()


def test_nothing_is_done_without_a_reserve(instance, folder, capsys, disk):
    instance.unit_file.write_text("[Unit]\nX-StoreReserve=0\n", encoding="utf-8")
    disk(0)
    for text in (PERSISTENCE, SQLITE):
        configure(instance, folder, text)
        store.prepare(instance)
        store.watch(instance)
    save(folder, REAL)
    configure(instance, folder, PERSISTENCE)
    store.watch(instance)
    assert names(folder) == ["mosquitto.db"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "size", "needed"), [(PERSISTENCE, 0, 3), (PERSISTENCE, 2 * MIB + 1, 8), (SQLITE, 2 * MIB, 3)]
)
def test_low_disk_space_causes_a_warning(instance, folder, capsys, disk, text, size, needed):
    """A save writes a new file, and the kept save needs its own space then."""
    configure(instance, folder, text)
    lines, unit = config.parse(text.format(folder)), instance.unit_file.read_text(encoding="utf-8")
    path = folder / ("mosquitto.sqlite3" if text == SQLITE else "mosquitto.db")
    path.write_bytes(bytes(size))
    disk(needed - 1)
    [told] = store.warnings(lines, unit)
    assert told.startswith(f"The file system of {path} has {needed - 1} MiB left, less than the {needed} MiB that ")
    assert f"mosquitto_persistence_reserve (3 MiB) {'needs' if text == SQLITE else 'and two saves need'}." in told
    store.watch(instance)
    assert f"<3>{told}\n" in capsys.readouterr().err
    disk(needed)
    assert store.warnings(lines, unit) == []
    store.watch(instance)
    assert "MiB left" not in capsys.readouterr().err


def test_a_reserve_larger_than_the_disk_is_rejected(instance, folder, disk):
    lines = config.parse(PERSISTENCE.format(folder))
    disk(0)
    store.see_reserve(lines, "X-StoreReserve=1000\n")
    with pytest.raises(
        Problem, match=r"^mosquitto_persistence_reserve: 1001 MiB are more than the file system of .* 1000"
    ):
        store.see_reserve(lines, "X-StoreReserve=1001\n")
    store.see_reserve(config.parse("persistence false\npersistence_location /\n"), "X-StoreReserve=1001\n")


def free_pages(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA freelist_count").fetchone()[0]


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_database_and_its_wal_have_reserved_space(instance, folder, before):
    """Only once: pages that a queue has used become free again."""
    configure(instance, folder, SQLITE)
    path = folder / "mosquitto.sqlite3"
    if before:
        database.reserve(path, before * MIB)
    for _start in range(2):
        store.prepare(instance)
        status = database.wal(path).stat()
        assert (status.st_size, status.st_blocks * 512) == (0, database.WAL_RESERVE)
        assert database.wal_is_damaged(path) is False
        assert free_pages(path) // 256 == max(3, before)
        assert path.stat().st_size < (max(3, before) + 1) * MIB


def test_a_reserve_keeps_the_contents_of_a_database(instance, folder):
    configure(instance, folder, SQLITE)
    save(folder, REAL)
    for _start in range(2):
        store.prepare(instance)
        with (Path(__file__).parents[2] / "fixtures/mosquitto.db").open("rb") as file:
            assert len([*database.read(folder / "mosquitto.sqlite3")]) == len([*snapshot.read(file)])


def test_a_reserve_is_not_made_on_a_disk_without_space_for_it(instance, folder, capsys, disk):
    """The broker starts nevertheless."""
    configure(instance, folder, SQLITE)
    disk(18)
    store.prepare(instance)
    said = capsys.readouterr().err
    assert said.startswith("<3>") and "cannot have mosquitto_persistence_reserve: No space left on device" in said
    assert not (folder / "mosquitto.sqlite3").exists()
    assert database.wal(folder / "mosquitto.sqlite3").stat().st_blocks * 512 == database.WAL_RESERVE
    disk(19)
    store.prepare(instance)
    assert free_pages(folder / "mosquitto.sqlite3") // 256 == 3


def test_a_debian_upgrade_without_a_run_causes_a_warning(instance, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LIBRARIES", tmp_path)
    unit = "X-StoreMethod=auto\n"
    old, new = (config.parse(text.format(folder)) for text in (PERSISTENCE, SQLITE))
    assert store.warnings(old, unit) == []
    plugin = tmp_path / "x86_64-linux-gnu/mosquitto" / store.PLUGIN
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    [told] = store.warnings(old, unit)
    assert told.startswith(f"{folder}/mosquitto.db is still in use")
    assert store.warnings(new, unit) == store.warnings(old, "X-StoreMethod=periodic\n") == []
