# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change takes."""

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
    """The same files, but one of them with another content."""
    file = files.by_path[str(path)]
    return dataclasses.replace(files, by_path={**files.by_path, str(path): file._replace(content=content)})


def test_nothing_for_the_same(loaded):
    assert needed_action(loaded, loaded, OLD) == ""


def test_a_restart_where_nobody_knows_what_was_read(loaded):
    assert needed_action(None, loaded, OLD) == "restart"


@pytest.mark.parametrize("name", ["acl", "passwd", "cert.pem", "key.pem"])
def test_a_reload_for_what_it_reads_again(instance, loaded, name):
    assert needed_action(loaded, changed(loaded, instance.folder / name, b"#"), OLD) == "reload"


@pytest.mark.parametrize(("line", "action"), [("sys_interval 20", "reload"), ("max_queued_messages 5", "restart")])
def test_a_change_of_the_configuration_is_what_its_options_take(instance, loaded, line, action):
    text = f"{line}\n{loaded.text}".encode()
    assert needed_action(loaded, changed(loaded, instance.config, text), OLD) == action


def test_a_restart_for_the_unit(instance, loaded):
    assert needed_action(loaded, changed(loaded, instance.unit_file, b"#"), NEW) == "restart"


def test_a_restart_where_an_old_broker_would_forget_its_limits(instance, loaded):
    text = loaded.text.replace("protocol mqtt\n", "protocol mqtt\nmax_connections 10\n").encode()
    limited = changed(loaded, instance.config, text)
    more = changed(limited, instance.folder / "acl", b"#")
    assert needed_action(limited, more, OLD) == "restart"
    assert needed_action(limited, more, NEW) == "reload"


def give(instance):
    """Give the broker the files of its folder, as a set that it reads."""
    found = sets.Sets(instance)
    with found.locked():
        found.turn(found.add(sets.find(instance)))


def undisturbed(instance, monkeypatch):
    """A change of a broker whose service is enabled and runs."""
    change = Transaction(instance, 1)
    state = types.SimpleNamespace(is_enabled=True, is_stale=False, reasons=[])
    monkeypatch.setattr(change.service, "look_without_obsolete", lambda check: state)
    return change


@pytest.mark.parametrize("check", [False, True])
def test_files_are_put_back_after_an_unexpected_error(instance, monkeypatch, check):
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


def test_files_are_put_back_for_a_change_that_failed_elsewhere(instance):
    change = Transaction(instance, 1)
    assert change.only_put_back() == "There is no earlier configuration to go back to."
    give(instance)
    acl = instance.folder / "acl"
    before = acl.read_bytes()
    acl.write_bytes(before + b"# changed\n")
    assert change.only_put_back() == f"Put back as before: {acl}"
    assert acl.read_bytes() == before
    assert change.only_put_back() == "Its files are as before."


def test_systemd_reads_a_unit_that_was_put_back(instance, monkeypatch):
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
def test_what_was_stored_meanwhile_goes_back_too(instance, monkeypatch, before, after, converts):
    """The unit that is put back may be of a version that converts nothing."""
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


def test_a_store_that_cannot_be_converted_back_is_told(instance, monkeypatch):
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


def test_a_damaged_file_is_warned_of_until_somebody_removes_it(instance, monkeypatch, tmp_path):
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


def test_check_mode_touches_nothing(instance, monkeypatch):
    give(instance)
    change = undisturbed(instance, monkeypatch)
    monkeypatch.setattr(change, "_action", lambda *_arguments: "")

    def touched():
        return {path: path.stat().st_ctime_ns for path in (instance.folder, *instance.folder.rglob("*"))}

    before = touched()
    assert not change.run(check=True).changed
    assert touched() == before
