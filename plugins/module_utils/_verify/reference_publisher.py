# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference publisher (beacon) on the firehose's host: it publishes numbers, each with a list of the messages received until then."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import detached
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client as mqtt
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import reasons
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan

VERSION = "3.1.1"
INTERVAL = 0.25
# The first received numbers are enough, and the message has to stay within a broker's size limit.
HEARD_AT_MOST = 1000


@dataclasses.dataclass(frozen=True)
class Publisher:
    """Another publisher whose password is known."""

    number: int
    name: str
    password: str = dataclasses.field(repr=False)
    topic: str


def place(endpoint: t.Mapping[str, t.Any]) -> str:
    """The broker's address in words."""
    return endpoint.get("socket") or f"{endpoint['host']} port {endpoint['port']}"


def let_in(endpoint: dict[str, t.Any], names: t.Iterable[str], timeout: float) -> list[str]:
    """The usernames that the broker accepts with a guessed password, each with the guess."""
    found = []
    for name in names:
        for guess, password in plan.GUESSES.items():
            # A broker that does not answer accepts no login.
            with contextlib.suppress(reasons.Failure), mqtt.connected(endpoint, timeout) as client:
                if client.log_in(name, password) == 0:
                    found.append(f"{name!r} with {guess}")
    return found


class Beacon:
    """The reference publisher at one endpoint. It runs until its time limit, or until the broker ends its session."""

    def __init__(
        self,
        endpoint: dict[str, t.Any],
        login: tuple[str, str],
        run: str,
        topic: str,
        watched: t.Sequence[str],
        publishers: t.Sequence[Publisher],
        timeout: float,
        time_limit: float,
    ) -> None:
        self._endpoint, self._login, self._run = endpoint, login, run
        self._topic, self._watched, self._publishers = topic, watched, publishers
        self._timeout, self._time_limit = timeout, time_limit
        self._number = 0
        self._returned = False
        self._attempts: set[int] = set()
        self._delivered: set[int] = set()
        self._failed: dict[int, str] = {}

    def work(self, tell: detached.Tell) -> None:
        """Publish until the time limit. Tell first that this works, or why it does not."""
        end = time.monotonic() + self._time_limit
        try:
            with mqtt.connected(self._endpoint, self._timeout) as client:
                self._log_in(client, *self._login)
                client.subscribe(self._watched, 1)
                self._shine(client, tell, end)
                client.leave()
        except reasons.Failure as exc:
            tell(f"{place(self._endpoint)}: {exc}")

    def _log_in(self, client: mqtt.Client, name: str, password: str) -> None:
        code = client.log_in(name, password)
        if code:
            raise reasons.connect_refusal(code, VERSION)

    def _shine(self, client: mqtt.Client, tell: detached.Tell, end: float) -> None:
        ready_by = time.monotonic() + self._timeout
        next_round = time.monotonic() + plan.ROUND
        while time.monotonic() < end:
            self._number += 1
            client.publish(self._topic, self.payload.encode())
            client.listen(min(time.monotonic() + INTERVAL, end))
            self._hear(client)
            if self._returned:
                tell(detached.READY)
            elif time.monotonic() > ready_by:
                raise reasons.Failure("no_answer", "what the account publishes does not come back to it")
            if time.monotonic() >= next_round:
                self._failed = {
                    publisher.number: problem
                    for publisher in self._publishers
                    for problem in [self._publish(publisher)]
                    if problem
                }
                next_round = time.monotonic() + plan.ROUND

    @property
    def payload(self) -> str:
        """The next message."""
        return plan.payload(
            self._run,
            beacon=self._number,
            attempts=sorted(self._attempts)[:HEARD_AT_MOST],
            publishers=sorted(self._delivered)[:HEARD_AT_MOST],
            failed=self._failed,
        )

    def _hear(self, client: mqtt.Client) -> None:
        while client.messages:
            said = plan.said(client.messages.popleft().payload, self._run)
            self._returned |= "beacon" in said
            self._attempts |= {said["attempt"]} if isinstance(said.get("attempt"), int) else set()
            self._delivered |= {said["publisher"]} if isinstance(said.get("publisher"), int) else set()

    def _publish(self, publisher: Publisher) -> str:
        """Publish with another account; return why that failed. Subscribers check that the message arrives."""
        try:
            with mqtt.connected(self._endpoint, self._timeout) as client:
                self._log_in(client, publisher.name, publisher.password)
                client.publish(publisher.topic, plan.payload(self._run, publisher=publisher.number).encode())
                client.leave()
        except reasons.Failure as exc:
            return str(exc)
        return ""
