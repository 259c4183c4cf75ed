# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statistics of a broker below $SYS/broker, as data."""

from __future__ import annotations

import re
import typing as t

ROOT = "$SYS/broker/"
FILTER = f"{ROOT}#"
INTERVALS = ("1min", "5min", "15min")

# The topic of each number in the result and, for counters, the topic with its averages over INTERVALS.
# Mosquitto counts all control packets as messages, and those with an application's message as publish.
COUNTERS = {
    ("packets", "received"): ("messages/received", "load/messages/received"),
    ("packets", "sent"): ("messages/sent", "load/messages/sent"),
    ("messages", "received"): ("publish/messages/received", "load/publish/received"),
    ("messages", "sent"): ("publish/messages/sent", "load/publish/sent"),
    ("messages", "dropped"): ("publish/messages/dropped", "load/publish/dropped"),
    ("bytes", "received"): ("bytes/received", "load/bytes/received"),
    ("bytes", "sent"): ("bytes/sent", "load/bytes/sent"),
}
NUMBERS = {
    ("clients", "connected"): "clients/connected",
    ("clients", "disconnected"): "clients/disconnected",
    ("clients", "total"): "clients/total",
    ("clients", "maximum"): "clients/maximum",
    ("messages", "stored"): "messages/stored",
    ("messages", "retained"): "retained messages/count",
}
# Mosquitto before 2.0.18 publishes a number only when it changes, and keeps it for a minute.
FORGETFUL = re.compile(r"mosquitto version (1\..*|2\.0\.(\d|1[0-7]))")


def may_end(topics: t.Mapping[str, str]) -> bool:
    """Return whether a broker that is silent now has sent all its topics.

    A forgetful one has not before its next update. That update has the number of bytes, since each subscriber changes it.
    """
    return f"{ROOT}bytes/received" in topics or not FORGETFUL.fullmatch(topics.get(f"{ROOT}version", ""))


def _number(text: str | None) -> int | None:
    found = re.fullmatch(r"(-?[0-9]{1,20})( seconds)?", text or "")
    return int(found.group(1)) if found else None


def _rate(text: str | None) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,9})?", text or "") else None


def parse(topics: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Sort the payloads by their topics below $SYS/broker. A value that is missing, or is no number, is None."""

    def text(leaf: str) -> str | None:
        return topics.get(ROOT + leaf)

    version = text("version")
    found: dict[str, t.Any] = {
        "version": re.sub(r"^mosquitto version ", "", version) if version else None,
        "uptime": _number(text("uptime")),
        "subscriptions": _number(text("subscriptions/count")),
    }
    for (group, name), leaf in NUMBERS.items():
        found.setdefault(group, {})[name] = _number(text(leaf))
    for (group, name), (leaf, load) in COUNTERS.items():
        rates = {f"rate_{interval}": _rate(text(f"{load}/{interval}")) for interval in INTERVALS}
        found.setdefault(group, {})[name] = {"count": _number(text(leaf)), **rates}
    return found
