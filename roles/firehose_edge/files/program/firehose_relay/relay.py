# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands on what comes, in its order, and lets no event keep the others back."""

from __future__ import annotations

import logging
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._handshake import NoAnswer
from ansible_collections.opendev.firehose.plugins.module_utils._raw_client import Client, Ended

from .core import WINDOW, Core
from .events import Event, publishers_of

log = logging.getLogger(__name__)

# Seconds
TURN = 1
FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
# How many events are handed over at a time, and about how many bytes of them.
MOST, MOST_BYTES = 500, 1024 * 1024
# What may wait. So many are not reached unless there are some of QoS 0 among them, of which the core may send as many as it likes.
MOST_WAITING, MOST_WAITING_BYTES = 2 * WINDOW, 64 * 1024 * 1024
# So many connections to NATS that end with the same event alone, and it is the event that ends them.
MOST_STRIKES = 5


class Relay:
    """What the one has, for the other. Counts what it does."""

    def __init__(
        self,
        core: Core,
        connect: t.Callable[[], t.ContextManager[Client]],
        publishers: t.Mapping[str, t.Sequence[str]],
        tell: t.Callable[[str], None],
    ) -> None:
        self._core, self._connect, self._publishers, self._tell = core, connect, publishers, tell
        self._stopping = False
        self._nats = "not asked yet"
        self.handed_on = self.refused = 0
        # What was taken and is not handed over yet, and by which connection it came; whether an event among it is suspected of ending connections.
        self._waiting: list[Event] = []
        self._connection = core.connection
        self._suspect = False
        self._strikes = 0

    def stop(self) -> None:
        """End at the next turn."""
        self._stopping = True

    def run(self) -> None:
        """Hand on until stop() is called."""
        delay = FIRST_DELAY
        while not self._stopping:
            handed_on = self.handed_on
            try:
                with self._connect() as nats:
                    self._say("connected")
                    self._hand_on(nats)
            except NoAnswer as exc:
                self._say(f"is away: {exc}")
                delay = FIRST_DELAY if self.handed_on > handed_on else min(2 * delay, LONGEST_DELAY)
                self._pause(delay)

    def _pause(self, seconds: float) -> None:
        """Wait, and keep the session at the core meanwhile."""
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            self._take(min(left, TURN))
            self._tell(self.line())

    def _hand_on(self, nats: Client) -> None:
        while not self._stopping:
            self._tell(self.line())
            self._take(0 if self._waiting else TURN)
            # Also nothing, for then NATS has to say that it is there.
            batch = self._batch()
            try:
                nats.publish_all((event.topic, event.payload, event.retain) for event in batch)
            except Ended:
                self._blame(batch)
                raise
            self._core.acknowledge(batch)
            self.handed_on += len(batch)
            self._strikes = 0
            del self._waiting[: len(batch)]
            self._suspect = self._suspect and bool(self._waiting)

    def _take(self, timeout: float) -> None:
        events = self._core.take(timeout, wanted=self._has_room())
        if self._connection != self._core.connection:
            # What the core sends again would come twice.
            self._waiting = [event for event in self._waiting if not event.number]
            self._connection = self._core.connection
        for event in events:
            if problem := event.problem():
                self._refuse(event, problem)
            else:
                self._waiting.append(event)

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST_WAITING and sum(len(one.payload) for one in self._waiting) < MOST_WAITING_BYTES

    def _batch(self) -> list[Event]:
        most, size = 1 if self._suspect else MOST, 0
        for count, event in enumerate(self._waiting[:most], 1):
            size += len(event.payload)
            if size >= MOST_BYTES:
                return self._waiting[:count]
        return self._waiting[:most]

    def _blame(self, batch: list[Event]) -> None:
        """Find the one that ends connections: from now on they go alone, until there is none that waits."""
        self._suspect = bool(batch)
        self._strikes = self._strikes + 1 if len(batch) == 1 else 0
        if self._strikes >= MOST_STRIKES:
            self._refuse(self._waiting.pop(0), f"NATS ended the connection, {MOST_STRIKES} times")
            self._strikes = 0

    def _refuse(self, event: Event, problem: str) -> None:
        who = publishers_of(event.topic, self._publishers)
        log.error("an event of %s on the topic %.200r is not handed on: %s", who, event.topic, problem)
        self.refused += 1
        self._core.acknowledge([event])

    def _say(self, status: str) -> None:
        if status != self._nats:
            self._nats = status
            log.info("NATS %s", status)
        self._tell(self.line())

    def line(self) -> str:
        """How it does, for `systemctl status`."""
        return f"core {self._core.status}; NATS {self._nats}; {self.handed_on} handed on, {self.refused} refused"
