# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that a trial makes to its host."""

from __future__ import annotations

import pytest
from mosquitto_apply import sets, trial


def test_etc_hosts_can_have_any_encoding(tmp_path, monkeypatch):
    own = "127.0.0.1 m\u00fcnchen\n".encode("latin-1")
    (tmp_path / "etc").write_bytes(own)
    told = []
    monkeypatch.setattr(trial, "ETC_HOSTS", tmp_path / "etc")
    monkeypatch.setattr(trial, "HOSTS", tmp_path / "trial")
    monkeypatch.setattr(trial, "_tell", lambda *command: told.append(command))
    trial._names({"broker.invalid": ["192.0.2.1"]})
    assert (tmp_path / "trial").read_bytes() == b"192.0.2.1 broker.invalid\n" + own
    assert told == [("mount", "--bind", str(tmp_path / "trial"), str(tmp_path / "etc"))]
    trial._names({"localhost": ["127.0.0.1"]})
    assert len(told) == 1


@pytest.mark.parametrize("line", ["persistence_location {}/", "plugin_opt_db_file {}/mosquitto.sqlite3"])
def test_the_stored_data_of_a_broker_is_hidden_from_a_trial(instance, tmp_path, line):
    folder = tmp_path / "stored"
    folder.mkdir()
    instance.config.write_text(f"persistence true\n{line.format(folder)}\n", encoding="utf-8")
    assert folder in trial._writable_folders(sets.find(instance))
