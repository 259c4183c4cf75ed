# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribers and publishers with the libraries that operators use: paho-mqtt, mqtt.js and mosquitto_sub."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import socket
import subprocess
import threading
import time
import typing as t

import paho.mqtt.client as paho

TIMEOUT = 20
PORTS = {"tcp": 1883, "websockets": 80}
TLS_PORTS = {"tcp": 8883, "websockets": 443}
# The ports for accounts, if firehose_account_listeners sets them.
ACCOUNT_PORTS = {"tcp": 1884, "websockets": 8084}
ACCOUNT_TLS_PORTS = {"tcp": 8884}


@dataclasses.dataclass(frozen=True)
class Way:
    """A transport and a version of the protocol, with or without TLS, anonymous or with an account."""

    transport: t.Literal["tcp", "websockets"]
    version: t.Literal["3.1.1", "5"]
    tls: bool = False
    account: bool = False

    def __str__(self) -> str:
        return f"{self.transport}-{self.version}{'-tls' if self.tls else ''}{'-account' if self.account else ''}"

    @property
    def port(self) -> int:
        """The port of a firehose for it."""
        ports = {
            (False, False): PORTS,
            (False, True): TLS_PORTS,
            (True, False): ACCOUNT_PORTS,
            (True, True): ACCOUNT_TLS_PORTS,
        }
        return ports[self.account, self.tls][self.transport]

    @property
    def level(self) -> paho.MQTTProtocolVersion:
        """The version as in a CONNECT packet."""
        return paho.MQTTv5 if self.version == "5" else paho.MQTTv311


WAYS = [Way(transport, version) for transport in PORTS for version in ("3.1.1", "5")]
TLS_WAYS = [dataclasses.replace(way, tls=True) for way in WAYS]
ACCOUNT_WAYS = [dataclasses.replace(way, account=True) for way in WAYS]
# The way of a publisher on another host.
ACCOUNT_TLS = Way("tcp", "3.1.1", tls=True, account=True)


@dataclasses.dataclass(frozen=True)
class Account:
    """The credentials of a client. Without any, it is an anonymous client."""

    name: str | None = None
    password: str | None = None
    topics: tuple[str, ...] = ()

    def may_publish(self, topic: str) -> bool:
        """Whether the topic is one of the account's topics."""
        return any(paho.topic_matches_sub(own, topic) for own in self.topics)


ANONYMOUS = Account()


@dataclasses.dataclass(frozen=True)
class Message:
    """A message that a subscriber received."""

    topic: str
    payload: str
    qos: int = 0
    retain: bool = False


def ca_file() -> str:
    """The file with the certificate of the CA that signs the scenario's other certificates."""
    return str(pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ca.pem"))


def paho_client(account: Account, way: Way, client_id: str = "", *, clean: bool = True) -> paho.Client:
    """Make a client that has not connected yet. `clean` applies here to MQTT 3.1.1 only."""
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id,
        clean_session=clean if way.version == "3.1.1" else None,
        transport=way.transport,
        protocol=way.level,
        reconnect_on_failure=False,
    )
    if account.name is not None:
        client.username_pw_set(account.name, account.password)
    if way.tls:
        client.tls_set(ca_file())
    return client


class Subscriber:
    """Collects the messages of a subscription. Entering it returns when the broker has confirmed the subscription."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ended: str | None = None
        self._ready = False
        self._changed = threading.Condition()

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> t.Self:
        self._open()
        try:
            self._wait(lambda: self._ready, "the confirmation of its subscription", TIMEOUT)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def _confirm(self) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _add(self, message: Message) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def _end(self, reason: str) -> None:
        with self._changed:
            self.ended = self.ended or reason
            self._changed.notify_all()

    def _wait(self, done: t.Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: done() or self.ended is not None, timeout)
            if not done():
                raise ConnectionError(f"{self} got {self.ended or 'nothing more'} while it waited for {what}")

    def wait_for(self, *, timeout: float = TIMEOUT, **wanted: str) -> None:
        """Wait until a message with these attributes has arrived."""

        def there() -> bool:
            return any(wanted.items() <= vars(message).items() for message in self.messages)

        self._wait(there, str(wanted), timeout)


class PahoSubscriber(Subscriber):
    """paho-mqtt, in its own thread."""

    def __init__(
        self,
        address: str,
        way: Way,
        filters: t.Sequence[str] = ("#",),
        account: Account = ANONYMOUS,
        client_id: str = "",
        qos: int = 2,
    ) -> None:
        super().__init__()
        self._address, self._way, self._filters, self._qos = address, way, filters, qos
        self._client = paho_client(account, way, client_id)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_args: self._confirm()
        self._client.on_message = lambda _client, _data, got: self._add(
            Message(got.topic, got.payload.decode(), got.qos, got.retain)
        )
        self._client.on_disconnect = lambda *args: self._end(f"a disconnection ({args[3]})")

    def __str__(self) -> str:
        return f"paho over {self._way} at {self._address}"

    def _on_connect(self, client: paho.Client, _data: t.Any, _flags: t.Any, reason: t.Any, _properties: t.Any) -> None:
        if reason.is_failure:
            self._end(f"a refusal ({reason})")
        else:
            client.subscribe([(topic, self._qos) for topic in self._filters])

    def _open(self) -> None:
        self._client.connect(self._address, self._way.port)
        self._client.loop_start()

    def _close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class LineSubscriber(Subscriber):
    """A program that reports its subscription, and prints each message as a line of JSON."""

    def __init__(self, command: t.Sequence[str], ready: str, parse: t.Callable[[str], Message]) -> None:
        super().__init__()
        self._command, self._ready_line, self._parse = command, ready, parse

    def __str__(self) -> str:
        return " ".join(self._command)

    def _open(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        output = []
        for line in self._process.stdout:
            if line.startswith("{"):
                self._add(self._parse(line))
            elif line.startswith(self._ready_line):
                self._confirm()
            else:
                output.append(line)
        self._end(f"the program's end after {''.join(output)!r}")

    def _close(self) -> None:
        # Both programs end with their standard input. A signal to `docker exec` would not reach into the container.
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT)
        self._thread.join(TIMEOUT)


def mqttjs_subscriber(folder: str, address: str, way: Way, filters: t.Sequence[str] = ("#",)) -> LineSubscriber:
    """mqtt.js in Node. Browsers use the same library."""
    scheme = {"tcp": "mqtt", "websockets": "ws"}[way.transport]
    url = f"{scheme}://{address}:{way.port}"
    command = ["node", f"{folder}/subscribe.mjs", url, str(int(way.level)), *filters]
    return LineSubscriber(command, "ready", lambda line: Message(**json.loads(line)))


def mosquitto_sub(container: str, address: str, way: Way, filters: t.Sequence[str] = ("#",)) -> LineSubscriber:
    """Debian's mosquitto_sub in a container. Before 2.1 it does not support websockets."""
    version = {"3.1.1": "mqttv311", "5": "mqttv5"}[way.version]
    options = ["-h", address, "-p", str(way.port), "-V", version, "-q", "2", "-d", "-F", "%j"]
    options += itertools.chain.from_iterable(("-t", topic) for topic in filters)
    # The shell reads the standard input, which mosquitto_sub does not read. Without stdbuf "Subscribed" stays in a
    # buffer.
    script = 'stdbuf -oL mosquitto_sub "$@" & read -r _; kill $!'
    command = ["docker", "exec", "--interactive", container, "sh", "-c", script, "sh", *options]

    def parse(line: str) -> Message:
        got = json.loads(line)
        return Message(got["topic"], got["payload"], got["qos"], bool(got["retain"]))

    return LineSubscriber(command, "Subscribed ", parse)


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a message is published: with a PUBLISH packet, or as the will of a client that disconnects abruptly."""

    name: str
    qos: int = 0
    retain: bool = False
    will: bool = False

    def __str__(self) -> str:
        return self.name


QOS0, QOS1, QOS2 = QOS = Mode("qos0"), Mode("qos1", qos=1), Mode("qos2", qos=2)
RETAINED = Mode("retained", qos=1, retain=True)
MODES = [
    *QOS,
    RETAINED,
    Mode("will", will=True),
    Mode("retained-will", qos=1, retain=True, will=True),
]


def vanish(client: paho.Client) -> None:
    """Cut a connection without DISCONNECT, which would discard the client's will."""
    wire = client.socket()
    if wire is not None:
        with socket.socket(fileno=os.dup(wire.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


def publish(address: str, account: Account, way: Way, mode: Mode, messages: t.Mapping[str, str]) -> None:
    """Try to publish payloads by their topics, and return when the broker has processed the attempt.

    This does not tell whether it succeeded: acknowledgements prove nothing. The packets are sent right after CONNECT, without waiting
    for its answer, so a client that the broker rejects has tried nevertheless.
    """
    client = paho_client(account, way)
    seen: set[str] = set()
    client.on_connect = lambda *_args: seen.add("answer")
    client.on_subscribe = lambda *_args: seen.add("barrier")
    client.on_disconnect = lambda *_args: seen.add("end")

    def wait_for(done: t.Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not done() and "end" not in seen:
            assert time.monotonic() < deadline, f"no {what} from {address} over {way}"
            time.sleep(0.001)

    if mode.will:
        [(topic, payload)] = messages.items()
        client.will_set(topic, payload, mode.qos, mode.retain)
    client.connect(address, way.port)
    sent = [] if mode.will else [client.publish(topic, text, mode.qos, mode.retain) for topic, text in messages.items()]
    client.loop_start()
    try:
        wait_for(lambda: "answer" in seen, "answer to CONNECT")
        if mode.will:
            vanish(client)
            return
        with contextlib.suppress(RuntimeError):  # the error of paho if the broker closes the connection first
            wait_for(lambda: all(info.is_published() for info in sent), "acknowledgement")
        # A broker processes the packets of a connection in order. The answer to this one confirms that the others are
        # done.
        client.subscribe("barrier")
        wait_for(lambda: "barrier" in seen, "answer to SUBSCRIBE")
        client.disconnect()
    finally:
        client.loop_stop()
