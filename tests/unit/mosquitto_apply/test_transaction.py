# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action that a change needs."""

from __future__ import annotations

import dataclasses
import types

import pytest
from mosquitto_apply import sets
from mosquitto_apply.problem import Problem
from mosquitto_apply.transaction import Transaction, needed_action

OLD, NEW = (2, 0, 21), (2, 1, 2)


@pytest.fixture
def loaded(instance):
    return sets.find(instance)


def changed(files, path, content):
    """The same files with changed content of one of them."""
    file = files.by_path[str(path)]
    return dataclasses.replace(files, by_path={**files.by_path, str(path): file._replace(content=content)})


def test_no_action_without_a_change(loaded):
    assert needed_action(loaded, loaded, OLD) == ""


def test_a_restart_if_the_loaded_set_is_unknown(loaded):
    assert needed_action(None, loaded, OLD) == "restart"


@pytest.mark.parametrize("name", ["acl", "passwd", "cert.pem", "key.pem"])
def test_a_reload_for_files_that_a_reload_reads(instance, loaded, name):
    assert needed_action(loaded, changed(loaded, instance.folder / name, b"#"), OLD) == "reload"


@pytest.mark.parametrize(("line", "action"), [("sys_interval 20", "reload"), ("max_queued_messages 5", "restart")])
def test_changed_options_determine_the_action(instance, loaded, line, action):
    text = f"{line}\n{loaded.text}".encode()
    assert needed_action(loaded, changed(loaded, instance.config, text), OLD) == action


def test_a_restart_for_a_changed_unit(instance, loaded):
    assert needed_action(loaded, changed(loaded, instance.unit_file, b"#"), NEW) == "restart"


def test_a_restart_if_an_old_broker_would_lose_its_limits(instance, loaded):
    text = loaded.text.replace("protocol mqtt\n", "protocol mqtt\nmax_connections 10\n").encode()
    limited = changed(loaded, instance.config, text)
    more = changed(limited, instance.folder / "acl", b"#")
    assert needed_action(limited, more, OLD) == "restart"
    assert needed_action(limited, more, NEW) == "reload"


def give(instance):
    """Give the broker the files of its directory, as its active set."""
    found = sets.Sets(instance)
    with found.locked():
        found.turn(found.add(sets.find(instance)))


def undisturbed(instance, monkeypatch):
    """A change of a broker whose service is enabled and active."""
    change = Transaction(instance, 1)
    state = types.SimpleNamespace(is_enabled=True, is_stale=False, reasons=[])
    monkeypatch.setattr(change.service, "look_without_obsolete", lambda check: state)
    return change


@pytest.mark.parametrize("check", [False, True])
def test_files_are_restored_after_an_unexpected_error(instance, monkeypatch, check):
    """Check mode leaves them."""
    give(instance)
    acl = instance.folder / "acl"
    before = acl.read_bytes()
    acl.write_bytes(before + b"# changed\n")
    change = undisturbed(instance, monkeypatch)
    monkeypatch.setattr(change, "_action", lambda *_arguments: b""[0])
    with pytest.raises(Problem, match="IndexError: ") as fault:
        change.run(check=check, put_back=True)
    assert ("Put back as before: " in str(fault.value)) is not check
    assert (acl.read_bytes() == before) is not check


def test_files_are_restored_if_a_change_failed_elsewhere(instance):
    change = Transaction(instance, 1)
    assert change.only_put_back() == "There is no earlier configuration to go back to."
    give(instance)
    acl = instance.folder / "acl"
    before = acl.read_bytes()
    acl.write_bytes(before + b"# changed\n")
    assert change.only_put_back() == f"Put back as before: {acl}"
    assert acl.read_bytes() == before
    assert change.only_put_back() == "Its files are as before."


def test_systemd_reloads_a_restored_unit(instance, monkeypatch):
    give(instance)
    change = Transaction(instance, 1)
    read: list[bytes] = []
    monkeypatch.setattr(change.service, "reload_units", lambda: read.append(instance.unit_file.read_bytes()))
    before = instance.unit_file.read_bytes()
    assert change.only_put_back() == "Its files are as before."
    assert read == []
    instance.unit_file.write_bytes(before + b"# changed\n")
    change.only_put_back()
    assert read == [before]


PLUGIN = "plugin /usr/lib/mosquitto_persist_sqlite.so\n"


@pytest.mark.parametrize(
    ("before", "after", "converts"), [("", PLUGIN, True), (PLUGIN, "", True), (PLUGIN, PLUGIN, False)]
)
def test_a_rollback_converts_the_store_back(instance, monkeypatch, before, after, converts):
    """The restored unit may be of a version that converts nothing."""
    text = instance.config.read_text(encoding="utf-8")
    instance.config.write_text(before + text, encoding="utf-8")
    give(instance)
    change = Transaction(instance, 1)
    kept = change.sets.live()
    instance.config.write_text(after + text, encoding="utf-8")
    wanted = sets.find(instance)
    told = []
    monkeypatch.setattr(change.service, "convert_store", lambda: told.append("convert"))
    monkeypatch.setattr(change, "_do", lambda action, *_arguments: told.append(action))
    assert change._go_back(kept, "restart", wanted) == "It serves with its previous configuration again."
    assert told == ["convert"] * converts + ["restart"]


def test_a_store_that_cannot_be_converted_back_is_reported(instance, monkeypatch):
    give(instance)
    change = Transaction(instance, 1)
    found = sets.find(instance)
    wanted = changed(found, instance.config, f"{PLUGIN}{found.text}".encode())

    def fail():
        raise Problem("No space left on device")

    monkeypatch.setattr(change.service, "convert_store", fail)
    monkeypatch.setattr(change, "_do", lambda *_arguments: None)
    said = change._go_back(change.sets.live(), "restart", wanted)
    assert said == "Nor does it serve with its previous configuration: No space left on device"


def test_a_damaged_file_causes_a_warning_until_it_is_removed(instance, monkeypatch, tmp_path):
    text = instance.config.read_text(encoding="utf-8")
    instance.config.write_text(f"persistence true\npersistence_location {tmp_path}/\n{text}", encoding="utf-8")
    give(instance)
    change = undisturbed(instance, monkeypatch)
    monkeypatch.setattr(change, "_action", lambda *_arguments: "")
    assert change.run(check=True).warnings == []
    file = tmp_path / "mosquitto.db.damaged-20300101T000000Z"
    file.touch()
    [warning] = change.run(check=True).warnings
    assert warning.startswith(str(file))


def test_check_mode_changes_nothing(instance, monkeypatch):
    give(instance)
    change = undisturbed(instance, monkeypatch)
    monkeypatch.setattr(change, "_action", lambda *_arguments: "")

    def touched():
        return {path: path.stat().st_ctime_ns for path in (instance.folder, *instance.folder.rglob("*"))}

    before = touched()
    assert not change.run(check=True).changed
    assert touched() == before
