# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that stay connected, and publish messages that others wait for."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import typing as t
import uuid

from .clients import TIMEOUT, Account, PahoSubscriber, Way


class Session(PahoSubscriber):
    """A client at any port, which can publish too."""

    def __init__(
        self, address: str, port: int, account: Account, filters: t.Sequence[str], way: Way, keepalive: int
    ) -> None:
        # The rules allow each account its own topic, so that every client can receive its own messages.
        self._fence = f"own/{account.name}/fence"
        super().__init__(address, way, [*filters, self._fence], account)
        self._port, self._keepalive = port, keepalive
        self._acknowledged: set[int] = set()
        self._client.on_publish = lambda *args: self._acknowledge(args[2])

    def __str__(self) -> str:
        return f"{super().__str__()} port {self._port}"

    def _open(self) -> None:
        self._client.connect(self._address, self._port, self._keepalive)
        self._client.loop_start()

    def _acknowledge(self, number: int) -> None:
        with self._changed:
            self._acknowledged.add(number)
            self._changed.notify_all()

    def publish(self, topic: str, payload: str, qos: int = 1, retain: bool = False) -> None:
        """Return when the broker has processed a message, which it may have dropped."""
        number = self._client.publish(topic, payload, qos, retain).mid
        self._wait(lambda: number in self._acknowledged, f"the acknowledgement of {topic}", TIMEOUT)

    def fence(self) -> None:
        """Return when each message that was published before has arrived, if it arrives at all."""
        payload = str(uuid.uuid4())
        self.publish(self._fence, payload)
        self.wait_for(topic=self._fence, payload=payload)

    def got(self, payload: str) -> set[str]:
        """The topics on which a payload has arrived."""
        return {message.topic for message in self.messages if message.payload == payload}


def delivered(sender: Session, receiver: Session, topics: t.Iterable[str]) -> set[str]:
    """Publish on topics; return those on which it reached the receiver."""
    payload = str(uuid.uuid4())
    for topic in topics:
        sender.publish(topic, payload)
    receiver.fence()
    return receiver.got(payload)


@contextlib.contextmanager
def count(sender: Session, topic: str, pause: float = 0.02) -> t.Iterator[t.Callable[[], list[str]]]:
    """Publish 0, 1, 2 ... on a topic meanwhile. Yields a function that returns the published messages."""
    stop, sent = threading.Event(), []

    def publish() -> None:
        while not stop.wait(pause):
            sender.publish(topic, str(len(sent)))
            sent.append(str(len(sent)))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(publish)
        try:
            yield lambda: sent
        finally:
            stop.set()
        future.result()
