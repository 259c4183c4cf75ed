# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario faults: numbered events, a reader with a persistent session, and the table of results."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import threading
import time
import typing as t

import paho.mqtt.client as paho
import pytest

from .accounting import Account, Received, make_account, table
from .clients import ACCOUNT_PORTS
from .germqtt import Germqtt

if t.TYPE_CHECKING:  # pytest has to import its plugins itself
    from .fixtures import Firehoses
    from .gerrit import Gerrit

pytest_plugins = ["firehose_testing.fixtures"]

TABLE = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], ".cache/faults.md")
LONG = os.environ.get("FAULTS") == "long"
LONG_EVENTS, SHORT_RATE = 10_000, 100
ACCOUNTS: dict[str, Account] = {}

# Emits events evenly over some seconds, and prints in which second each was made.
FEEDER = """
import json, sys, time
events, seconds = int(sys.argv[1]), float(sys.argv[2])
start, created = time.time(), []
with open("/srv/gerrit/events.jsonl", "a") as stream:
    for number in range(events):
        time.sleep(max(start + number * seconds / events - time.time(), 0))
        created.append(int(time.time()))
        event = {"type": "comment-added", "project": f"faults/{number % 5}", "number": number, "run": sys.argv[3],
                 "comment": "x" * 1500, "eventCreatedOn": created[-1]}
        print(json.dumps(event), file=stream, flush=True)
print(json.dumps(created))
"""


class EventReader:
    """A subscriber with a persistent session, at QoS 1."""

    def __init__(self, address: str) -> None:
        self._lock = threading.Lock()
        self._messages: list[tuple[float, str, dict[str, t.Any]]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "faults-durable", clean_session=False)
        self._client.username_pw_set("durable", "only-for-tests-durable")
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_args: client.subscribe("gerrit/#", 1)
        self._client.on_subscribe = lambda *_args: self._subscribed.set()
        self._client.on_message = self._on_message
        self._address = address

    def __enter__(self) -> t.Self:
        self._client.connect(self._address, ACCOUNT_PORTS["tcp"])
        self._client.loop_start()
        assert self._subscribed.wait(20)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @contextlib.contextmanager
    def away(self) -> t.Iterator[None]:
        """Disconnect, and resume the session as soon as the broker answers."""
        self._client.disconnect()
        self._client.loop_stop()
        try:
            yield
        finally:
            deadline = time.monotonic() + 30
            while True:
                try:
                    self._client.connect(self._address, ACCOUNT_PORTS["tcp"])
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
            self._client.loop_start()

    @contextlib.contextmanager
    def hanging(self) -> t.Iterator[None]:
        """Stay connected and read nothing, so that events are in flight until the broker or this ends."""
        self._client.loop_stop()
        try:
            yield
        finally:
            self._client.loop_start()

    def _on_message(self, _client: t.Any, _data: t.Any, message: paho.MQTTMessage) -> None:
        with self._lock:
            self._messages.append((time.time(), message.topic, json.loads(message.payload)))

    def messages(self) -> list[tuple[float, str, dict[str, t.Any]]]:
        """All received messages: time, topic and content."""
        with self._lock:
            return list(self._messages)

    def events(self, run: str) -> list[Received]:
        """The numbered events of a run, in the order of arrival."""
        return [
            Received(moment, topic, event["number"])
            for moment, topic, event in self.messages()
            if event.get("run") == run
        ]

    def gaps(self, since: float) -> list[tuple[int, int]]:
        """The spans of the gap messages of germqtt."""
        return [
            (message["from"], message["to"])
            for moment, topic, message in self.messages()
            if topic == "gerrit/germqtt/gap" and moment >= since
        ]


@dataclasses.dataclass(frozen=True)
class Bench(Germqtt):
    """The host with the broker and germqtt, Gerrit, and the reader."""

    gerrit: Gerrit
    reader: EventReader

    def settle(self) -> None:
        """Wait until all pending events have arrived."""
        self.wait_until(self.works, "germqtt has published everything")
        seen = -1
        while seen != len(self.reader.messages()):
            seen = len(self.reader.messages())
            time.sleep(1.5)

    def run(
        self,
        fault: str,
        seconds: float,
        long_seconds: float,
        cause: t.Callable[[], None],
        *,
        loaded: bool = False,
        rate: int = SHORT_RATE,
    ) -> Account:
        """Emit events over some seconds, cause a failure meanwhile, and account for each event.

        With `loaded`, events still flow when the failure is over.
        """
        events, seconds = (LONG_EVENTS, long_seconds) if LONG else (int(seconds * rate), seconds)
        run = f"{fault} {time.time()}"
        self.settle()
        before = self.counts()
        begun = time.time()
        feeder = subprocess.Popen(
            ["docker", "exec", self.gerrit.host.backend.name, "python3", "-c", FEEDER, str(events), str(seconds), run],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.wait_until(lambda: bool(self.reader.events(run)), "events flow", 20)
            cause()
            assert not loaded or feeder.poll() is None, "the fault took longer than the events"
        finally:
            output, _errors = feeder.communicate()
        self.settle()
        account = make_account(
            json.loads(output),
            self.reader.events(run),
            self.reader.gaps(begun),
            **{name: number - before[name] for name, number in self.counts().items()},
        )
        ACCOUNTS[fault] = account
        return account


@pytest.fixture(scope="session")
def bench(firehoses: Firehoses, gerrit: Gerrit) -> t.Iterator[Bench]:
    """The hosts, with the reader connected."""
    [firehose] = firehoses.values()
    with EventReader(firehose.address) as reader:
        yield Bench(firehose, gerrit, reader)


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """Show the table, and write it to a file, where it is not wrapped."""
    if ACCOUNTS:
        terminalreporter.write_sep("=", f"what became of each event (also in {TABLE})")
        terminalreporter.write_line(table(ACCOUNTS))
        TABLE.write_text(table(ACCOUNTS) + "\n", encoding="utf-8")
