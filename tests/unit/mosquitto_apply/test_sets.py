# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of files: written completely, activated in one step, and restored."""

from __future__ import annotations

import errno
import os
import pathlib

import pytest
from mosquitto_apply import sets
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem
from mosquitto_apply.sets import Sets


@pytest.fixture
def live(instance):
    """The sets of a broker with the files of its directory."""
    found = Sets(instance)
    with found.locked():
        found.turn(found.add(sets.find(instance)))
    return found


def test_a_set_has_all_files_and_mosquitto_conf_refers_to_them(instance, live):
    folder = live.live()
    assert sets.load(instance, folder) == sets.find(instance)
    text = (instance.live / "mosquitto.conf").read_text(encoding="utf-8")
    assert f"password_file {instance.live}/files{instance.folder}/passwd\n" in text
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*") if path.is_file()} == {0}


def test_a_set_with_a_changed_mosquitto_conf_is_invalid(instance, live):
    folder = live.live()
    config = folder / "mosquitto.conf"
    config.chmod(0o600)
    config.write_text("allow_anonymous true\n", encoding="utf-8")
    assert sets.load(instance, folder) is None


def test_a_set_has_only_the_files_that_the_broker_reads(instance, live):
    folder = live.live()
    copies = {f"/{path.relative_to(folder / 'files')}" for path in (folder / "files").rglob("*") if path.is_file()}
    assert copies == {str(instance.folder / name) for name in ("passwd", "acl", "cert.pem", "key.pem")}
    assert {path.name for path in folder.iterdir()} == {"files", "mosquitto.conf", "kept.json"}


def test_only_root_owns_the_files_for_a_rollback(instance, monkeypatch):
    owners = {}
    write = sets._write

    def noted(path, content, uid, gid, mode):
        owners[path.name] = (uid, gid, mode)
        write(path, content, os.getuid(), os.getgid(), mode)

    monkeypatch.setattr(sets, "_write", noted)
    monkeypatch.setattr(Sets, "_make_ours", lambda *_arguments: None)
    found = Sets(instance)
    found._broker = (4711, 4711)
    with found.locked():
        found.add(sets.find(instance))
    assert owners.pop("kept.json") == (0, 0, 0o400)
    assert set(owners.values()) == {(4711, 4711, 0o400)}


def test_changes_to_the_brokers_copies_do_not_affect_a_rollback(instance, live):
    folder = live.live()
    before = sets.load(instance, folder)
    copy = next((folder / "files").rglob("acl"))
    copy.chmod(0o600)
    copy.write_text("topic readwrite #\n", encoding="utf-8")
    assert sets.load(instance, folder) is None
    assert sets.kept(instance, folder) == before


def test_a_set_of_an_earlier_version_is_not_trusted(instance, live):
    """It stored all files where the broker could change them, with their owners beside them."""
    folder = live.live()
    (folder / "kept.json").unlink()
    (folder / "owners.json").write_text("{}", encoding="utf-8")
    assert sets.load(instance, folder) is None
    assert sets.kept(instance, folder) is None


def test_links_and_locks_are_in_directories_of_root(instance):
    """A broker can create anything in its own directory, and lock it."""
    known = Instance("public")
    assert {known.loaded.parent, known.lock.parent} == {pathlib.Path("/run")}
    assert known.runtime not in (known.loaded, known.lock)
    (instance.runtime / "set.new").mkdir()
    found = Sets(instance)
    with found.locked():
        folder = found.add(sets.find(instance))
        found.note_loaded(folder)
    assert found.loaded() == folder


def test_a_difference_depends_only_on_contents(instance, live):
    before = sets.load(instance, live.live())
    (instance.folder / "acl").chmod(0o640)
    assert sets.find(instance).difference(before) == set()
    assert sets.find(instance) != before
    (instance.folder / "acl").write_text("topic read #\n", encoding="utf-8")
    assert sets.find(instance).difference(before) == {str(instance.folder / "acl")}


@pytest.mark.parametrize("what", ["gone", "a directory", "no text"])
def test_an_invalid_file_is_named(instance, what):
    path = instance.folder / "acl"
    path.unlink()
    if what == "a directory":
        path.mkdir()
    if what == "no text":
        path, instance_config = instance.config, instance.config.read_bytes()
        path.write_bytes(instance_config + b"\xff")
    with pytest.raises(Problem, match=f"{path}"):
        sets.find(instance)


def test_files_are_restored_with_their_modes(instance, live):
    acl, unit = instance.folder / "acl", instance.unit_file
    acl.chmod(0o640)
    with live.locked():
        live.turn(live.add(sets.find(instance)))
    acl.unlink()
    unit.write_text("[Unit]\n", encoding="utf-8")
    assert sets.put_back(sets.load(instance, live.live())) == [str(acl), str(unit)]
    assert (acl.read_text(encoding="utf-8"), acl.stat().st_mode & 0o777) == ("", 0o640)
    assert unit.read_text(encoding="utf-8") == "[Service]\n"


def test_files_that_were_changed_in_the_meantime_are_not_restored(instance, live):
    acl = instance.folder / "acl"
    acl.write_text("broken\n", encoding="utf-8")
    found = sets.find(instance)
    acl.write_text("topic read #\n", encoding="utf-8")
    assert sets.put_back(sets.load(instance, live.live()), found) == []
    assert acl.read_text(encoding="utf-8") == "topic read #\n"


def test_files_outside_the_directory_are_not_restored(instance, live, tmp_path):
    foreign = tmp_path / "fullchain.pem"
    foreign.write_text("good\n", encoding="utf-8")
    text = instance.config.read_text(encoding="utf-8").replace(f"{instance.folder}/cert.pem", str(foreign))
    instance.config.write_text(text, encoding="utf-8")
    with live.locked():
        live.turn(live.add(sets.find(instance)))
    foreign.write_text("bad\n", encoding="utf-8")
    assert sets.put_back(sets.load(instance, live.live())) == []
    assert foreign.read_text(encoding="utf-8") == "bad\n"


def test_a_full_disk_leaves_no_partial_set(instance, live, monkeypatch):
    before = sorted(instance.sets.rglob("*"))

    def fail(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sets.os, "fsync", fail)
    with pytest.raises(Problem, match="No space left on device"), live.locked():
        live.add(sets.find(instance))
    assert sorted(instance.sets.rglob("*")) == before


def test_old_sets_are_removed(instance, live):
    previous = live.live()
    with live.locked():
        folder = live.add(sets.find(instance))
        live.turn(folder)
        live.prune(folder)
    assert not previous.exists()
    assert live.live() == folder


def test_waiting_for_a_lock_has_a_time_limit(live, monkeypatch):
    monkeypatch.setattr(sets, "LOCK_TIMEOUT", 0.2)
    with live.locked(), pytest.raises(Problem, match="another change"), live.locked():
        pass


def test_a_missing_password_is_generated_once(instance):
    path = instance.folder / "word"
    with instance.config.open("a", encoding="utf-8") as file:
        file.write(f"remote_password @{path}\n")
    sets.find(instance)
    assert not path.exists()
    first = sets.find(instance, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sets.find(instance, make=True) == first
    found = Sets(instance)
    with found.locked():
        found.turn(found.add(first))
    text = (instance.live / "mosquitto.conf").read_text(encoding="utf-8")
    assert f"remote_password {path.read_text(encoding='utf-8')}" in text


@pytest.mark.parametrize("content", ["", "two words", "two\nlines\n"])
def test_an_invalid_password_file_is_rejected(instance, content):
    path = instance.folder / "word"
    path.write_text(content, encoding="utf-8")
    with instance.config.open("a", encoding="utf-8") as file:
        file.write(f"remote_password @{path}\n")
    with pytest.raises(Problem, match=f"line 16: remote_password: {path} does not hold one word"):
        sets.find(instance)


def test_a_fifo_in_place_of_a_copy_does_not_block(instance, live):
    key = live.live() / f"files{instance.folder}/key.pem"
    key.unlink()
    os.mkfifo(key)
    assert sets.load(instance, live.live()) is None
