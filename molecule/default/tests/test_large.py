# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages near the accounts broker's size limit: a publisher is disconnected, or its message reaches subscribers."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_PORTS, ACCOUNT_WAYS, QOS1, WAYS, PahoSubscriber, publish
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.hostile import packets, wire
from firehose_testing.hostile.packets import TOPIC_ALIAS, V3, V5, VERSIONS
from firehose_testing.hostile.target import Listener

# The default of firehose_max_payload, and the accounts broker's packet limit. It logs nothing below that.
PAYLOAD, PACKET = 262144, 262144 + 65536 + 16
TOPIC, LONG_TOPIC = "ci/3/large", f"ci/3/{'long' * 16000}"
# The packet with which MQTT 5 ends a connection
TOO_LARGE = packets.packet(packets.DISCONNECT[0], b"\x95")


def size_of_packet(size: int, topic: str, version: int) -> bytes:
    """A PUBLISH with this remaining length."""
    empty = packets.publish(version, topic, b"", 1)
    return packets.publish(version, topic, b"x" * (size - len(empty) + 2), 1)


async def _send(firehose: Firehose, transport: str, version: int, client_id: str, *messages: bytes) -> bytes:
    """Log in as a publisher and send. Returns the broker's answers, one for each message, or until the connection ends."""
    account, port = firehose.publishers["ci-3"], ACCOUNT_PORTS[transport]
    connection = await wire.connect(Listener(firehose.address, port, transport))
    hello = packets.connect(version, client_id, username=account.name, password=account.password)
    await wire.log_in(connection, version, hello)
    answers = b""
    try:
        for message in messages:
            await connection.send(message)
            answer = await asyncio.wait_for(connection.packet(), 10)
            answers += packets.packet(answer.first, answer.body)
    except wire.FAILURES:
        pass
    finally:
        connection.vanish()
    return answers


def send(firehose: Firehose, transport: str, version: int, *messages: bytes) -> tuple[bytes, str]:
    """The broker's answers, and its log lines about the client."""
    client_id = f"large-{uuid.uuid4()}"
    answers = asyncio.run(_send(firehose, transport, version, client_id, *messages))
    # The log line is written before the answer, but the journal may be slower.
    firehose.host.check_output("journalctl --sync")
    return answers, firehose.host.check_output(f"journalctl --unit mosquitto --output cat --grep {client_id}")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_packet_size_limit(firehoses: Firehoses, name: str, version: int) -> None:
    """Each acknowledged message reaches subscribers. A message that is not acknowledged is logged."""
    firehose = firehoses[name]
    with PahoSubscriber(firehose.address, WAYS[0], ["ci/3/#"]) as reader:
        # Mosquitto compares the length with the limit less 1.
        largest, larger = (size_of_packet(size, TOPIC, version) for size in (PACKET - 1, PACKET))
        answers, log = send(firehose, "tcp", version, largest)
        assert answers[:1] == bytes([packets.PUBACK << 4])
        assert "oversize" not in log
        reader.wait_for(topic=TOPIC)
        assert len(reader.messages[0].payload) > PAYLOAD
        answers, log = send(firehose, "tcp", version, larger)
        assert answers in ((b"", TOO_LARGE) if version == V5 else (b"",))
        assert "oversize packet" in log
        assert "u'ci-3'" in log


def test_each_accepted_message_reaches_anonymous_clients(firehoses: Firehoses, name: str) -> None:
    """Each message that the accounts broker accepts reaches subscribers, even if the bridge makes it longer."""
    firehose = firehoses[name]
    alias = packets.number_property(TOPIC_ALIAS, 1)
    first = packets.publish(V5, LONG_TOPIC, b"first", 1, properties_=alias)
    # Without its topic, the packet is as long as the accounts broker accepts.
    aliased = packets.publish(V5, "", b"x" * (PACKET - 100), 1, number=2, properties_=alias)
    with PahoSubscriber(firehose.address, WAYS[0], ["ci/3/#"]) as reader:
        send(firehose, "tcp", V3, packets.publish(V3, LONG_TOPIC, b"x" * PAYLOAD, 1))
        send(firehose, "tcp", V5, first, aliased)
        # Websockets of Mosquitto 2.0 limit only the payload. 2.1 disconnects.
        send(firehose, "websockets", V3, packets.publish(V3, LONG_TOPIC, b"x" * PACKET, 1))
        send(firehose, "websockets", V3, packets.publish(V3, TOPIC, b"x" * (PACKET + 1), 1))
        publish(firehose.address, firehose.publishers["ci-3"], ACCOUNT_WAYS[0], QOS1, {TOPIC: "the last"})
        reader.wait_for(payload="the last")
        got = [len(message.payload) for message in reader.messages]
    over_websockets = [PACKET] if "debian14" not in name else []
    assert got == [PAYLOAD, len("first"), PACKET - 100, *over_websockets, len("the last")]


def test_publishers_can_disable_keepalive(firehoses: Firehoses) -> None:
    """MQTT allows it, and Mosquitto accepts it unless it is configured otherwise."""

    async def codes(firehose: Firehose) -> list[int]:
        account, found = firehose.publishers["ci-3"], []
        for transport, port in ACCOUNT_PORTS.items():
            for version in (packets.OLDEST, *VERSIONS):
                connection = await wire.connect(Listener(firehose.address, port, transport))
                login = {"username": account.name, "password": account.password, "keepalive": 0}
                await connection.send(packets.connect(version, uuid.uuid4().hex[:20], **login))
                found.append((await connection.until(packets.CONNACK))[-1].body[1])
                connection.vanish()
        return found

    assert firehoses.each(lambda firehose: asyncio.run(codes(firehose))) == dict.fromkeys(firehoses, [0] * 6)
