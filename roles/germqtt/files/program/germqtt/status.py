# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of germqtt for subscribers and systemd."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import typing as t

from . import VERSION, store

CONNECTED = "connected"


def _moment(seconds: float | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds is not None else None


class Status:
    """The status of germqtt's parts, and the counters of the store."""

    def __init__(self, kept: store.Store) -> None:
        self._store = kept
        self._since = time.time()
        self.gerrit = "not asked yet"
        self.broker = "not asked yet"

    def _process(self) -> dict[str, t.Any]:
        return {"version": VERSION, "since": _moment(self._since)}

    def _details(self) -> dict[str, t.Any]:
        return {
            **self._process(),
            "gerrit": self.gerrit,
            "last_event": _moment(self._store.last_event),
            "waiting": self._store.waiting,
            **{name: self._store.count(name) for name in store.COUNTERS},
        }

    def online(self) -> bytes:
        """The payload of the status topic while germqtt is connected to the broker."""
        return json.dumps({"state": "online", **self._details()}).encode()

    def offline(self) -> bytes:
        """The payload of the status topic after germqtt has ended."""
        return json.dumps({"state": "offline", **self._details()}).encode()

    def will(self) -> bytes:
        """The payload that the broker publishes when the connection is lost. It has no values that change until then."""
        return json.dumps({"state": "offline", **self._process()}).encode()

    def line(self) -> str:
        """The status line for `systemctl status`."""
        details = self._details()
        counts = ", ".join(f"{details[name]} {name}" for name in ("waiting", *store.COUNTERS))
        return f"Gerrit {self.gerrit}; broker {self.broker}; last event {details['last_event'] or 'none'}; {counts}"


def notify(**variables: t.Any) -> None:
    """Send variables to systemd with sd_notify(3), if systemd has started germqtt and listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        text = "\n".join(f"{name.upper()}={value}" for name, value in variables.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)
            connection.connect("\0" + address[1:] if address.startswith("@") else address)
            connection.send(text.encode())
