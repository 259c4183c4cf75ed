# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import path of germqtt, which the role germqtt installs, and common fixtures."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import json
import sqlite3
import ssl
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets

CHECKOUT = Path(__file__).parents[3]
sys.path.insert(0, str(CHECKOUT / "roles/germqtt/files/program"))


@pytest.fixture(scope="session")
def stream_lines() -> list[bytes]:
    """A stream of events as Gerrit sends it."""
    return (CHECKOUT / "tests/fixtures/gerrit-events.jsonl").read_bytes().splitlines()


class _NoTransaction:
    """A transaction that fails since the disk is full."""

    def __enter__(self) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def __exit__(self, *_exc: object) -> None:
        """Nothing to undo."""


@pytest.fixture
def full_disk() -> t.Callable[[t.Any], t.ContextManager[None]]:
    """Prevents a store from writing while it is entered."""

    @contextlib.contextmanager
    def full(kept: t.Any) -> t.Iterator[None]:
        kept._transaction = _NoTransaction
        try:
            yield
        finally:
            del kept._transaction

    return full


@dataclasses.dataclass
class Published:
    """A message as the broker receives it."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    number: int
    size: int  # of the whole packet, in bytes


@dataclasses.dataclass
class Session:
    """A connection, and the packets of the client on it."""

    version: int = 0
    client_id: str = ""
    keepalive: int = 0
    username: str | None = None
    password: str | None = None
    will: tuple[str, bytes, int, bool] | None = None
    published: list[Published] = dataclasses.field(default_factory=list)
    unacknowledged: int = 0
    most_unacknowledged: int = 0
    polite: bool = False
    clean: bool = True
    writer: asyncio.StreamWriter | None = None


@dataclasses.dataclass
class Memory:
    """The saved state of a broker: events for subscribers, and unacknowledged messages of each client with a persistent session."""

    events: list[Published] = dataclasses.field(default_factory=list)
    filters: dict[str, str] = dataclasses.field(default_factory=dict)
    queues: dict[str, dict[int, tuple[str, bytes]]] = dataclasses.field(default_factory=dict)


class Broker:
    """A broker that behaves as a test wants. It does not use germqtt's MQTT library."""

    # The answer to CONNECT, by the client's version. None is silence, and b"" closes the connection.
    welcome: dict[int, bytes | None] = {5: b"\x20\x03\x00\x00\x00", 4: b"\x20\x02\x00\x00"}
    # The answer to a message at QoS 1: a reason code, None for silence, or "hang up".
    answer: t.Callable[[Published], int | str | None] = staticmethod(lambda _message: 0)
    # Whether it answers pings.
    pings = True
    # Bytes that it sends after CONNACK without a request.
    nonsense = b""
    # Whether clients can publish and read below $germqtt/.
    allows_markers = allows_reading = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.sessions: list[Session] = []
        self.memory = Memory()
        self._saved = Memory()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Broker:
        await self.start()
        return self

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def __aexit__(self, *_exc: object) -> None:
        # Data that a client sent before it disconnected is read to the end.
        for _turn in range(30):
            if not self._writers:
                break
            await asyncio.sleep(0.01)
        await self.stop()

    def save(self) -> None:
        self._saved = copy.deepcopy(self.memory)

    async def crash(self) -> None:
        """Stop, and start again with the saved state."""
        await self.stop()
        self.memory = copy.deepcopy(self._saved)
        await self.start(self.port)

    async def restart(self) -> None:
        """Save, stop and start again."""
        self.save()
        await self.crash()

    def cut(self) -> None:
        """End all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(writer=writer)
        self._writers.add(writer)
        try:
            data = bytearray()
            while received := await reader.read(65536):
                data += received
                if not all(self._packet(session, packet, writer) for packet in packets.split(data)):
                    break
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _packet(self, session: Session, packet: packets.Packet, writer: asyncio.StreamWriter) -> bool:
        """Answer a packet; return whether the connection goes on."""
        kind, fields = packet.kind, packets.Fields(packet.body)
        if kind == packets.CONNECT:
            self._connect(session, fields)
            answer = self.welcome[session.version]
            if answer is not None:
                writer.write(answer + self.nonsense)
                self._resume(session)
            return answer is None or (answer != b"" and answer[3:4] in (b"\0", b""))
        if kind == packets.PUBLISH:
            return self._publish(session, packet, writer)
        if kind == packets.PUBACK:
            self.memory.queues[session.client_id].pop(fields.integer(), None)
        if kind == packets.SUBSCRIBE:
            self._subscribe(session, fields, writer)
        if kind == packets.PINGREQ and self.pings:
            writer.write(packets.packet(packets.PINGRESP))
        session.polite = session.polite or kind == packets.DISCONNECT
        return kind != packets.DISCONNECT

    def _connect(self, session: Session, fields: packets.Fields) -> None:
        assert fields.text() == "MQTT"
        session.version, flags, session.keepalive = fields.integer(1), fields.integer(1), fields.integer()
        fields.properties(session.version)
        session.client_id = fields.text()
        session.clean = bool(flags & packets.CLEAN_SESSION)
        if flags & packets.HAS_WILL:
            fields.properties(session.version)
            session.will = fields.text(), fields.binary(), flags >> 3 & 3, bool(flags & packets.WILL_RETAIN)
        session.username = fields.text() if flags & packets.HAS_USERNAME else None
        session.password = fields.text() if flags & packets.HAS_PASSWORD else None
        self.sessions.append(session)

    def _resume(self, session: Session) -> None:
        """Begin or resume a session: send the messages that its client has not acknowledged."""
        if session.clean:
            self.memory.filters.pop(session.client_id, None)
            self.memory.queues.pop(session.client_id, None)
        queue = self.memory.queues.setdefault(session.client_id, {})
        for number, (topic, payload) in queue.items():
            self._send(session, number, topic, payload)

    def _subscribe(self, session: Session, fields: packets.Fields, writer: asyncio.StreamWriter) -> None:
        number = fields.take(2)
        fields.properties(session.version)
        self.memory.filters[session.client_id] = fields.text()
        writer.write(packets.packet(packets.SUBACK, number + (b"\0\1" if session.version == packets.V5 else b"\1")))

    @staticmethod
    def _send(session: Session, number: int, topic: str, payload: bytes) -> None:
        assert session.writer
        session.writer.write(packets.publish(session.version, packets.Message(topic, payload, 1), number))

    def _route(self, session: Session, message: Published) -> None:
        """Store a message for its subscribers, and send it to the client itself if it has subscribed."""
        if not message.topic.startswith("$"):
            self.memory.events.append(message)
        elif self.allows_reading and message.topic == self.memory.filters.get(session.client_id):
            queue = self.memory.queues[session.client_id]
            number = max(queue, default=0) + 1
            queue[number] = message.topic, message.payload
            self._send(session, number, message.topic, message.payload)

    def _publish(self, session: Session, packet: packets.Packet, writer: asyncio.StreamWriter) -> bool:
        got, number = packets.read_publish(session.version, packet)
        topic, size = got.topic, len(packets.packet(packet.kind, packet.body))
        message = Published(topic, got.payload, got.retain, got.qos, number, size)
        session.published.append(message)
        session.unacknowledged += 1
        session.most_unacknowledged = max(session.most_unacknowledged, session.unacknowledged)
        code = self.answer(message) if self.allows_markers or not topic.startswith("$") else 0x87
        if code == "hang up":
            return False
        if isinstance(code, int) and code < 0x80:
            self._route(session, message)
        if isinstance(code, int):
            self.acknowledge(session, writer, number, code)
        return True

    @staticmethod
    def acknowledge(session: Session, writer: asyncio.StreamWriter, number: int, code: int = 0) -> None:
        session.unacknowledged -= 1
        writer.write(packets.acknowledge(packets.PUBACK, number, code))

    @property
    def all(self) -> list[Published]:
        return [message for session in self.sessions for message in session.published]

    def events(self) -> list[t.Any]:
        """Messages on topics other than the status, without the markers."""
        own = ("$", "/germqtt/status")
        return [
            json.loads(one.payload)
            for one in self.all
            if not (one.topic.startswith(own[0]) or one.topic.endswith(own[1]))
        ]

    def remembered(self) -> list[int]:
        """The numbers of the events that subscribers get, in order, including repetitions."""
        return [
            json.loads(one.payload)["number"]
            for one in self.memory.events
            if not one.topic.startswith("gerrit/germqtt/")
        ]

    def statuses(self) -> list[dict[str, t.Any]]:
        return [json.loads(message.payload) for message in self.all if message.topic.endswith("/germqtt/status")]


@pytest.fixture
def broker() -> Broker:
    """A broker on loopback, once `async with broker` begins."""
    return Broker()


@pytest.fixture(scope="session")
def broker_kind() -> type[Broker]:
    """The class, for tests that need another instance."""
    return Broker


@pytest.fixture
def kept(tmp_path: Path) -> t.Iterator[t.Any]:
    """A store."""
    from germqtt import config, store  # noqa: PLC0415 # the import path is set only now

    opened = store.Store(config.Store(path=tmp_path / "events.sqlite"))
    yield opened
    opened.close()
