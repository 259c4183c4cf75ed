# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish the store's rows in order until the broker has acknowledged them, and again if the broker lost them later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time

from . import backoff, config, connection, events, marker, status, store

log = logging.getLogger(__name__)

# Maximum number of unacknowledged events in flight, unless the broker wants fewer; and their bytes.
WINDOW = 100
WINDOW_BYTES = store.MIB
# Seconds: first and longest delay between attempts, timeout of acknowledgements, the same at the end, between statuses.
FIRST_DELAY, LONGEST_DELAY = 0.5, 15
ACKNOWLEDGE_TIMEOUT, END_TIMEOUT = 30, 2
STATUS_INTERVAL = 10
# Seconds for other clients to subscribe again after the broker lost its sessions: public brokers retry at least every 5 s.
RETURN_TIME = 10
# If this many connections end with the same event unacknowledged, the event is the cause.
MOST_STRIKES = 5
NOT_AUTHORIZED, QUOTA_EXCEEDED = 0x87, 0x97
# An event that the broker rejects with one of these is rejected at every attempt: topic name, packet size, payload format.
PERMANENT_FAILURES = (0x90, 0x95, 0x99)


class Publisher:
    """A publisher that opens one connection after the other until it is stopped."""

    def __init__(self, options: config.Mqtt, kept: store.Store, shown: status.Status) -> None:
        self._options, self._store, self._status = options, kept, shown
        self._own = f"{options.topic}/germqtt"
        self._version = "5"
        self._connection: connection.Connection | None = None
        # Events that may be published twice: a part is in flight, the rest are acknowledged rows that the store keeps.
        self._window = min(WINDOW, max(options.republish_max // 2, 1)) if options.republish_max else WINDOW
        self._marker: marker.Marker | None = None
        self._has_complained = False
        self._stopping = asyncio.Event()
        # Messages in flight by packet identifier, None for a status or a marker; then the acknowledged rows that the store
        # does not know of yet.
        self._sent: dict[int, store.Row | None] = {}
        self._acknowledged: list[int] = []
        self._progress = 0.0
        self._suspect, self._strikes = 0, 0
        # Whether this connection made progress.
        self._advanced = False
        self._told, self._last_status, self._untold = 0.0, b"", False
        self._told_number = 0

    async def run(self) -> None:
        """Publish until stop() is called."""
        delays = backoff.Backoff(FIRST_DELAY, LONGEST_DELAY)
        while not self._stopping.is_set():
            try:
                problem = await self._connected(delays)
            except connection.RejectedError as exc:
                problem = f"refuses germqtt: {exc}"
                if exc.speaks_older:
                    self._version = "3.1.1"
            except sqlite3.OperationalError as exc:
                problem = f"has to wait for the store: {exc}"
            except (OSError, ValueError) as exc:
                problem = f"cannot be reached: {str(exc) or 'there is no answer'}"
            self._status.broker = problem
            if not self._stopping.is_set():
                log.error("broker %s:%d %s", self._options.hostname, self._options.port, problem)
                await delays.sleep(unless=self._stopping)

    def stop(self) -> None:
        """Stop, after waiting shortly for the last acknowledgements."""
        self._stopping.set()

    async def _connected(self, delays: backoff.Backoff) -> str:
        """Connect, and publish until the connection ends; return the reason."""
        current = connection.Connection(self._options, self._store.client_id(), self._version)
        one = marker.Marker(current, self._options.topic, self._store.client_id())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await current.open(f"{self._own}/status", self._status.will())
            log.info("broker %s:%d connected", self._options.hostname, self._options.port)
            finding = asyncio.create_task(self._find(current, one))
            await asyncio.wait([finding, current.ended, stopping], return_when=asyncio.FIRST_COMPLETED)
            if finding.done():
                self._begin(current, finding.result())
                await asyncio.wait([current.ended, stopping], return_when=asyncio.FIRST_COMPLETED)
            finding.cancel()
            if self._stopping.is_set():
                await self._end(current)
        finally:
            stopping.cancel()
            self._connection = None
            current.close(politely=self._stopping.is_set())
        problem = current.ended.result() if current.ended.done() else "disconnected"
        self._after(problem)
        if self._advanced:
            delays.reset()
        return problem

    async def _find(self, current: connection.Connection, one: marker.Marker) -> marker.Marker | None:
        """The marker, if republishing is enabled and the broker allows markers."""
        if not self._options.republish_max:
            return None
        if await one.find():
            if self._store.is_forgotten(one.found):
                log.error(
                    "the broker has lost its store: nothing is published for %s seconds, until others have subscribed",
                    RETURN_TIME,
                )
                await asyncio.sleep(RETURN_TIME)
            return one
        if not self._has_complained and not current.ended.done():
            log.warning(
                "the broker does not let germqtt publish and read %s: what a crash of it loses is lost", one.topic
            )
            self._has_complained = True
        return None

    def _begin(self, current: connection.Connection, found: marker.Marker | None) -> None:
        self._store.keep = self._options.republish_max - self._window if found else 0
        if found and (again := self._store.resume(found.found)):
            log.error("the broker may have lost events that it had acknowledged: %d are published again", again)
        self._connection, self._marker = current, found
        current.on_acknowledged = self._on_acknowledged
        self._advanced = False
        self._sent.clear()
        self._store.rewind()
        self._status.broker = status.CONNECTED
        self.tell()
        self.pump()

    def _after(self, problem: str) -> None:
        """Find an event that ends connections, and remove it."""
        self._flush()
        sent = [row for row in self._sent.values() if row]
        head = min((row.id for row in sent), default=0)
        if not head or self._stopping.is_set():
            return
        self._strikes = self._strikes + 1 if head == self._suspect else 1
        self._suspect = head
        if self._strikes >= MOST_STRIKES:
            row = next(row for row in sent if row.id == head)
            topic, payload = self._message(row)
            log.error("the broker does not take an event of %d bytes on %s: %s", len(payload), topic, problem)
            self._put_away(row, "refused")
            self._suspect, self._strikes, self._advanced = 0, 0, True

    # ---- events -----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Publish waiting events, up to the limit of events in flight."""
        current = self._connection
        if not current or current.ended.done() or self._stopping.is_set():
            return
        self._mark(current)
        while (room := self._room(current)) > 0 and (rows := self._store.take(room)):
            for row in rows:
                self._publish(current, row)
        self._mark(current)
        current.flush()

    def _mark(self, current: connection.Connection) -> None:
        """Publish a marker after the last event, as soon as the broker has acknowledged the previous one."""
        one, number = self._marker, self._store.number
        if one and number > one.sent and self._may_send_own(current):
            one.sent = number
            self._send(current, None, one.topic, one.payload(number))

    def _may_send_own(self, current: connection.Connection) -> bool:
        return None not in self._sent.values() and len(self._sent) < current.receive_maximum

    def _room(self, current: connection.Connection) -> int:
        """The number of events that can be sent now. An event that is suspected of ending connections is sent alone."""
        window = 1 if self._suspect else min(self._window, current.receive_maximum)
        full = sum(len(row.line) for row in self._sent.values() if row) >= WINDOW_BYTES
        return 0 if full else window - len(self._sent)

    def _message(self, row: store.Row) -> tuple[str, bytes]:
        """The topic and the payload of a row. Raises UnusableError."""
        if row.gap:
            return f"{self._own}/gap", row.line
        return events.message(self._options.topic, row.line, self._options.project_topics)

    def _publish(self, current: connection.Connection, row: store.Row) -> None:
        try:
            topic, payload = self._message(row)
        except events.UnusableError as exc:
            log.error("a line of the stream is of no use: %s: %.200r", exc, row.line)
            self._put_away(row, "unusable")
            return
        problem = None if row.gap else self._size_problem(current, topic, payload)
        if problem:
            self._refuse(current, row, topic, payload, problem)
        else:
            self._send(current, row, topic, payload)

    def _size_problem(self, current: connection.Connection, topic: str, payload: bytes) -> str | None:
        """The limit of the broker that a message exceeds. If sent anyway, it would end the connection or get lost silently."""
        if 0 < self._options.max_payload < len(payload):
            return f"[mqtt] max_payload is {self._options.max_payload} bytes"
        if current.packet_size(topic, payload) > current.maximum_packet:
            return f"the broker's maximum packet size is {current.maximum_packet} bytes"
        return None

    def _refuse(self, current: connection.Connection, row: store.Row, topic: str, payload: bytes, problem: str) -> None:
        """Publish a gap message in place of an event that the broker rejects."""
        log.error("the broker does not take an event of %d bytes on %s: %s", len(payload), topic, problem)
        if gap := self._put_away(row, "refused"):
            self._publish(current, gap)

    def _send(
        self, current: connection.Connection, row: store.Row | None, topic: str, payload: bytes, retain: bool = False
    ) -> None:
        if not self._sent:
            self._progress = time.monotonic()
        self._sent[current.publish(topic, payload, retain)] = row

    def _on_acknowledged(self, number: int, code: int, reason: str) -> None:
        if number not in self._sent or not self._connection:
            return
        self._progress = time.monotonic()
        row = self._sent[number]
        if not row:
            del self._sent[number]
            asyncio.get_running_loop().call_soon(self._flush_and_pump)
            return
        if code in PERMANENT_FAILURES and not row.gap:
            del self._sent[number]
            self._suspect, self._advanced = 0, True
            self._refuse(self._connection, row, *self._message(row), reason)
            asyncio.get_running_loop().call_soon(self._flush_and_pump)
            return
        if code >= connection.FIRST_FAILURE:
            # An operator can correct ACL rules and quotas, and nothing is lost until then. Other failures are caused by the event.
            if code in (NOT_AUTHORIZED, QUOTA_EXCEEDED):
                self._sent.clear()
            self._connection.end(f"refuses to publish below {self._options.topic}/: {reason}")
            return
        del self._sent[number]
        self._suspect, self._advanced = 0, True
        if not self._acknowledged:
            asyncio.get_running_loop().call_soon(self._flush_and_pump)
        self._acknowledged.append(row.id)

    def _flush_and_pump(self) -> None:
        self._flush()
        # In Mosquitto 2.0, messages in flight do not trigger a save. A retained message does, and everything is saved then.
        if self._untold or (self._marker and self._store.number - self._told_number > self._store.keep // 2):
            self.tell()
        self.pump()

    def _flush(self) -> None:
        """Remove acknowledged rows. The store remembers those that it cannot remove yet."""
        done, self._acknowledged = self._acknowledged, []
        with contextlib.suppress(sqlite3.OperationalError):
            self._store.acknowledge(done)

    def _put_away(self, row: store.Row, counter: str) -> store.Row | None:
        """Remove a row that is not published. If the store cannot do so yet, the next connection tries it again."""
        with contextlib.suppress(sqlite3.OperationalError):
            return self._store.put_away(row, counter)
        return None

    async def _end(self, current: connection.Connection) -> None:
        """Wait shortly for the last acknowledgements, and publish the offline status."""
        deadline = time.monotonic() + END_TIMEOUT
        while self._sent and time.monotonic() < deadline and not current.ended.done():
            await asyncio.sleep(0.01)
        self._flush()
        if not current.ended.done():
            current.publish(f"{self._own}/status", self._status.offline(), retain=True)

    # ---- the connection ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do the periodic work of once a second."""
        if not self._connection:
            return
        self._connection.tick()
        now = time.monotonic()
        if self._sent and now - self._progress > ACKNOWLEDGE_TIMEOUT:
            self._connection.end(f"silent: it has acknowledged nothing for {ACKNOWLEDGE_TIMEOUT} seconds")
        elif now - self._told > STATUS_INTERVAL and self._status.online() != self._last_status:
            self.tell()
        self.pump()

    def tell(self) -> None:
        """Publish the status, as soon as the broker has acknowledged the previous one and accepts another message."""
        current = self._connection
        if not current or current.ended.done() or self._stopping.is_set():
            return
        self._untold = not self._may_send_own(current)
        if not self._untold:
            self._told_number = self._store.number
            self._told, self._last_status = time.monotonic(), self._status.online()
            self._send(current, None, f"{self._own}/status", self._last_status, retain=True)
            current.flush()
