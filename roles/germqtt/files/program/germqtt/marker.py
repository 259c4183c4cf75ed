# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marker: the number of the last event that the broker remembers.

germqtt publishes the number of its last event to itself, and leaves the newest such message unacknowledged. So the broker keeps
it in germqtt's session, and saves it together with the messages for other subscribers. After a reconnect it sends the message
again: the broker may have lost events that were published after it.
"""

from __future__ import annotations

import asyncio
import contextlib

from . import connection

PROBE = "probe"
# Seconds. Mosquitto sends a client its own message before it acknowledges that message.
ANSWER_TIMEOUT, ECHO_TIMEOUT = 30, 2


def topic(base: str) -> str:
    """The topic of markers. Filters such as '#' do not match it, so that other subscribers do not receive them."""
    return f"$germqtt/{base}"


class Marker:
    """The marker on a connection that is about to be opened. Other markers on the same topic have other owners."""

    def __init__(self, current: connection.Connection, base: str, owner: str) -> None:
        self._connection, self.topic, self._owner = current, topic(base), owner
        self._held: int | None = None
        self._echo = asyncio.Event()
        # The number in the newest marker, and the number that was published last.
        self.found: int | None = None
        self.sent = 0
        # Kept messages may arrive together with the CONNACK.
        current.on_message = self._on_message

    def payload(self, number: int | str) -> bytes:
        return f"{self._owner} {number}".encode()

    async def find(self) -> bool:
        """Whether the broker delivers germqtt's markers. `found` is the newest one, if any: kept markers arrive before the probe."""
        current = self._connection
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        current.on_acknowledged = lambda _number, code, _reason: answer.done() or answer.set_result(code)
        current.subscribe(self.topic)
        current.publish(self.topic, self.payload(PROBE))
        current.flush()
        await asyncio.wait([answer], timeout=ANSWER_TIMEOUT)
        if not answer.done():
            current.end(f"silent: it has acknowledged nothing for {ANSWER_TIMEOUT} seconds")
        elif answer.result() < connection.FIRST_FAILURE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._echo.wait(), ECHO_TIMEOUT)
        self.sent = self.found or 0
        return self._echo.is_set()

    def _on_message(self, number: int, payload: bytes) -> None:
        owner, _blank, text = payload.decode(errors="replace").partition(" ")
        done: int | None = number
        if owner == self._owner and text.isdecimal():
            self.found = int(text)
            done, self._held = self._held, number
        elif (owner, text) == (self._owner, PROBE):
            self._echo.set()
        if done is not None:
            self._connection.acknowledge(done)
