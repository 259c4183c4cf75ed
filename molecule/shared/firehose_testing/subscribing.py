# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits of anonymous clients in docs/subscribe.md."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import typing as t
import uuid

from .clients import PORTS
from .fixtures import Firehose
from .hostile import packets, wire
from .hostile.packets import OLDEST, V3, V5, Will
from .hostile.target import Listener

FILTER, TOPIC = "ci/#", "ci/1/subscribing"
ALL = (OLDEST, V3, V5)
# The default of firehose_max_keepalive. The public broker announces it to clients of MQTT 5 that ask for more.
LONGEST, TOLD = 600, 610
SERVER_KEEPALIVE = bytes([0x13]) + TOLD.to_bytes(2, "big")

# A client that gets events, or the return code of CONNACK. Mosquitto may end the connection before or without CONNACK.
Outcome = t.Union[t.Literal["events", "no answer", "closed"], int]
# Publish a payload on TOPIC, and return when the accounts broker has received it.
Publish = t.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A way to connect and subscribe, and the result by protocol version."""

    name: str
    outcomes: dict[int, t.Collection[Outcome]]
    topic_filter: str = FILTER
    subprotocol: str = "mqtt"
    transports: tuple[str, ...] = tuple(PORTS)
    # Of CONNECT
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    # The required properties of CONNACK, with MQTT 5
    told: bytes = b""
    # Where Mosquitto 2.0.11 differs
    on_debian12: dict[int, t.Collection[Outcome]] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def expected(self, host: Firehose) -> dict[int, t.Collection[Outcome]]:
        """The outcomes at a host."""
        return self.outcomes | (self.on_debian12 if "debian12" in host.name else {})


def _served(name: str, versions: t.Iterable[int] = ALL, **more: t.Any) -> Case:
    return Case(name, {version: ["events"] for version in versions}, **more)


def _rejected(name: str, codes: dict[int, int], **more: t.Any) -> Case:
    return Case(name, {version: [code, "closed"] for version, code in codes.items()}, **more)


_TOO_LONG: dict[str, t.Any] = {
    "outcomes": {OLDEST: [2, "closed"], V3: [2, "closed"], V5: ["events"]},
    "on_debian12": {OLDEST: ["events"], V3: ["events"]},
    "told": SERVER_KEEPALIVE,
}
CASES = [
    _served("no username"),
    _served("an empty username", options={"username": ""}),
    _served("an empty username and a password", options={"username": "", "password": "x"}),
    _rejected("a username", {OLDEST: 5, V3: 5, V5: 0x87}, options={"username": "x"}),
    _rejected("a username and a password", {V3: 5, V5: 0x87}, options={"username": "x", "password": "x"}),
    _served("a will with QoS 0", options={"will": Will("ci/will", b"x")}),
    Case(
        "a will with QoS 1",
        {OLDEST: ["closed"], V3: ["closed"], V5: [0x9B, "closed"]},
        options={"will": Will("ci/will", b"x", qos=1)},
    ),
    _served("the longest keepalive", options={"keepalive": LONGEST}),
    Case("a longer keepalive", options={"keepalive": TOLD + 1}, **_TOO_LONG),
    Case("no keepalive", options={"keepalive": 0}, **_TOO_LONG),
    _served("a session", options={"clean": False, "expiry": 3600}),
    _served("a long client id", (V3, V5), options={"client_id": "%s" * 50}),
    _served("no client id", (V3, V5), options={"client_id": ""}),
    _served("a session without a client id", (V3, V5), options={"client_id": "", "clean": False}),
    _served("a shared subscription", (V3, V5), topic_filter=f"$share/%s/{FILTER}"),
    _served("the subprotocol mqttv3.1", subprotocol="mqttv3.1", transports=("websockets",)),
    Case(
        "no subprotocol",
        {version: ["no answer", "closed"] for version in ALL},
        subprotocol="",
        transports=("websockets",),
    ),
]


async def _connack(case: Case, listener: Listener, version: int, own: str) -> tuple[wire.Connection, packets.Packet]:
    """Connect. Returns the connection and the answer."""
    connection = await wire.connect(listener, subprotocol=case.subprotocol)
    # With MQTT 5, a session that expires needs a property that other versions do not have.
    options = {key: value for key, value in case.options.items() if key != "expiry" or version == V5}
    client_id = options.pop("client_id", "%s").replace("%s", own)
    await connection.send(packets.connect(version, client_id, **options))
    return connection, (await connection.until(packets.CONNACK, 3))[-1]


async def _subscribed(case: Case, listener: Listener, version: int) -> wire.Connection | Outcome:
    """A connection that waits for events, or the reason why there is none."""
    own = uuid.uuid4().hex[:20]
    try:
        connection, connack = await _connack(case, listener, version, own)
    except asyncio.TimeoutError:
        return "no answer"
    except wire.FAILURES:
        return "closed"
    if connack.body[1]:
        return connack.body[1]
    if version == V5:
        assert case.told in connack.body, f"{listener}: {connack.body.hex()} does not contain {case.told.hex()}"
    # Each client has its own group, since each member of a group gets only some of the events.
    await connection.send(packets.subscribe(version, [case.topic_filter.replace("%s", own)], qos=2))
    suback = (await connection.until(packets.SUBACK))[-1]
    assert suback.body[-1] == 0, f"{listener} grants {suback.body[-1]}"
    return connection


async def _outcome(subscribed: wire.Connection | Outcome, version: int, payload: str) -> Outcome:
    if not isinstance(subscribed, wire.Connection):
        return subscribed
    while True:
        got = (await subscribed.until(packets.PUBLISH))[-1]
        if packets.parse_publish(version, got)[1].decode() == payload:
            subscribed.vanish()
            return "events"


async def _outcomes(case: Case, host: Firehose, publish: Publish) -> dict[tuple[str, int], Outcome]:
    keys = list(itertools.product(case.transports, case.outcomes))
    listeners = {transport: Listener(host.address, PORTS[transport], transport) for transport in case.transports}
    clients = await asyncio.gather(*(_subscribed(case, listeners[transport], version) for transport, version in keys))
    payload = str(uuid.uuid4())
    await asyncio.to_thread(publish, payload)
    found = await asyncio.gather(
        *(_outcome(client, version, payload) for client, (_transport, version) in zip(clients, keys, strict=True))
    )
    return dict(zip(keys, found, strict=True))


def check(case: Case, host: Firehose, publish: Publish) -> None:
    """Try each kind of client at once, over each transport."""
    expected = case.expected(host)
    found = asyncio.run(_outcomes(case, host, publish))
    wrong = {key: outcome for key, outcome in found.items() if outcome not in expected[key[1]]}
    assert wrong == {}, f"{host.name}: {case}: {wrong}, not {expected}"
