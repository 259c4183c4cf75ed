# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients of a verification: how they connect to a firehose, and what their failures prove."""

from __future__ import annotations

import collections
import socket
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan

# Mosquitto may reject MQTT 3.1.1 clients with a keepalive above its max_keepalive, which is at least 10. With MQTT 5 it sends its own
# keepalive. A watcher needs a long one, since it is not served while another client waits.
KEEPALIVE = {"3.1.1": 10, "5": 60}
# Slow failures that the next attempt would only repeat
TEDIOUS = ("no_answer", "unreachable", "time")
ENOUGH = 3


def _addresses(host: str) -> set[str]:
    return {str(address[0]) for *_others, address in socket.getaddrinfo(host, None)}


def why_not_checked(host: str, listener: t.Mapping[str, t.Any]) -> str | None:
    """Say why anonymous clients do not, or cannot be expected to, reach a listener by the host's name, or None."""
    if listener["not_checked"] or not listener["address"]:
        return listener["not_checked"]
    try:
        leads_there = _addresses(host) & _addresses(listener["address"])
    except (OSError, ValueError):
        return None  # the attempt to connect says why
    return None if leads_there else f"it is bound to {listener['address']}, which is no address of {host}"


class Clients:
    """Opens sessions with one host, until the common time limit."""

    def __init__(self, host: str, timeout: float, time_limit: float, ca_file: str | None = None) -> None:
        self.timeout = timeout
        self._host, self._time_limit, self._ca_file = host, time_limit, ca_file
        self._end = time.monotonic() + time_limit

    def deadline(self, seconds: float) -> float:
        """The deadline after so many seconds, but no later than the common time limit."""
        return min(time.monotonic() + seconds, self._end)

    def late(self) -> str | None:
        """Say that the common time limit is over, or None."""
        is_late = time.monotonic() >= self._end
        return f"the {self._time_limit:g} seconds that all of it may take are over" if is_late else None

    def session(
        self,
        way: plan.Way,
        login: tuple[str | None, str | None] = (None, None),
        will: tuple[str, str, int, bool] | None = None,
        client_id: str = "",
    ) -> Session:
        """A session that is not open yet. The login is a username and a password."""
        late = self.late()
        if late:
            raise reasons.Failure("time", late)
        spec = {name: option.get("default") for name, option in client_options.argument_spec().items()}
        place = {"host": self._host, "port": way.port, "transport": {"mqtt": "tcp"}.get(way.protocol, way.protocol)}
        tls = {"tls": True, "ca_path": self._ca_file} if way.tls else {}
        limits = {"protocol_version": way.version, "connect_timeout": self.timeout, "keepalive": KEEPALIVE[way.version]}
        who = {"username": login[0], "password": login[1], "client_id": client_id}
        return Session({**spec, **place, **tls, **limits, **who}, will=will)

    def make(self, attempt: plan.Attempt, payload: str) -> int:
        """Make an attempt; return the broker's reason code, 0 if it gives none."""
        mode = attempt.mode
        will = (attempt.topic, payload, mode.qos, mode.retain) if mode.will else None
        with self.session(attempt.way, (attempt.username, attempt.password), will, attempt.client_id) as session:
            if not mode.will:
                return session.publish(attempt.topic, payload, mode.qos, mode.retain) or 0
            session.vanish()
        return 0

    def make_all(self, attempts: t.Iterable[plan.Attempt], between: t.Callable[[], None]) -> plan.Made:
        """Make attempts that should fail, and call between after each."""
        made = plan.Made([*attempts])
        tedious: collections.Counter[plan.Way] = collections.Counter()
        for attempt in made.attempts:
            if tedious[attempt.way] >= ENOUGH:
                made.untried[attempt.number] = "those before it took too long"
                continue
            try:
                code = self.make(attempt, attempt.payload)
            except reasons.Failure as exc:
                tedious[attempt.way] += exc.cause in TEDIOUS
                if not plan.is_turned_away(attempt, exc.cause):
                    made.untried[attempt.number] = str(exc)
            else:
                if attempt.username is not None:
                    made.let_in.add(attempt.number)
                if code >= reasons.FIRST_REFUSAL and code not in reasons.NOT_LET_IN:
                    made.untried[attempt.number] = f"the broker rejected it: {reasons.reason(code)}"
            between()
        return made

    def take_back(self, attempt: plan.Attempt) -> str | None:
        """Remove a retained message with an empty one; say why that failed, or None."""
        try:
            code = self.make(attempt, "")
        except reasons.Failure as exc:
            return str(exc)
        return reasons.reason(code) if code >= reasons.FIRST_REFUSAL else None
