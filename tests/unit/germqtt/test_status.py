# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status for subscribers and for systemd."""

from __future__ import annotations

import json
import socket

import germqtt
import pytest
from germqtt import status

NOW = 1_800_000_000.0


@pytest.fixture
def shown(kept, monkeypatch):
    monkeypatch.setattr(status.time, "time", lambda: NOW)
    return status.Status(kept)


def test_the_status_for_subscribers(shown, kept):
    kept.add([b"one", b"two", b"three"], NOW + 60)
    kept.acknowledge([kept.take(1)[0].id])
    kept.put_away(kept.take(1)[0], "unusable")
    shown.gerrit = status.CONNECTED
    assert json.loads(shown.online()) == {
        "state": "online",
        "version": germqtt.VERSION,
        "since": "2027-01-15T08:00:00Z",
        "gerrit": "connected",
        "last_event": "2027-01-15T08:01:00Z",
        "waiting": 1,
        "stored": 3,
        "acknowledged": 1,
        "repeated": 0,
        "dropped": 0,
        "unusable": 1,
        "refused": 0,
        "gaps": 0,
    }
    assert json.loads(shown.offline()) == json.loads(shown.online()) | {"state": "offline"}
    assert json.loads(shown.will()) == {
        "state": "offline",
        "version": germqtt.VERSION,
        "since": "2027-01-15T08:00:00Z",
    }


def test_the_status_for_systemd_is_one_line(shown, kept):
    assert "last event none; 0 waiting, 0 stored, 0 acknowledged" in shown.line()
    kept.add([b"one"], NOW)
    shown.gerrit, shown.broker = "refuses germqtt: why", status.CONNECTED
    assert shown.line() == (
        "Gerrit refuses germqtt: why; broker connected; last event 2027-01-15T08:00:00Z; "
        "1 waiting, 1 stored, 0 acknowledged, 0 repeated, 0 dropped, 0 unusable, 0 refused, 0 gaps"
    )


@pytest.mark.parametrize("abstract", [True, False])
def test_the_status_is_sent_to_systemd(monkeypatch, tmp_path, abstract):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + path if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        status.notify(status="é", watchdog=1)
        assert listening.recv(1000).decode() == "STATUS=é\nWATCHDOG=1"


def test_notify_does_nothing_without_systemd(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    status.notify(ready=1)


def test_an_unread_notify_socket_is_not_an_error(monkeypatch, tmp_path):
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    status.notify(ready=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        for _message in range(2000):  # more than the queue holds; notify() must not block
            status.notify(ready=1)
