# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import path of mosquitto-apply, which the role mosquitto installs, and a broker's directory outside the host's."""

from __future__ import annotations

import grp
import importlib
import os
import pwd
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
sys.path.insert(0, str(CHECKOUT / "roles/mosquitto/files/program"))

CONFIG = """\
# a comment
allow_anonymous true
password_file {folder}/passwd
acl_file {folder}/acl
max_queued_messages 100

listener 1883
protocol mqtt
listener 443 192.0.2.1
protocol websockets
certfile {folder}/cert.pem
keyfile {folder}/key.pem
listener 0 /run/mosquitto/broker.sock
connection core
address 127.0.0.1:1884
"""


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """A broker whose files are below a temporary directory, with a consistent configuration."""
    sets = importlib.import_module("mosquitto_apply.sets")
    me = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name

    class Elsewhere(importlib.import_module("mosquitto_apply.instance").Instance):
        """The same, below another root."""

        folder = tmp_path / "etc"
        runtime = tmp_path / "run"
        unit_file = tmp_path / "mosquitto.service"
        user = me[0]

    for folder in (Elsewhere.folder, Elsewhere.runtime):
        folder.mkdir()
    found = Elsewhere()
    found.unit_file.write_text("[Service]\n", encoding="utf-8")
    found.config.write_text(CONFIG.format(folder=found.folder), encoding="utf-8")
    for name in ("passwd", "acl", "cert.pem", "key.pem"):
        (found.folder / name).write_text("", encoding="utf-8")
    for name in ("chown", "fchown"):
        monkeypatch.setattr(sets.os, name, lambda *_args: None)
    return found
