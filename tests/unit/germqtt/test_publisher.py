# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages to the broker, tested with a broker that answers as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import pathlib
import sqlite3
import tempfile
import time

import pytest
from germqtt import config, marker, publisher, status, store
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000.0
WELCOME_WITH_MAXIMUM = b"\x20\x06\x00\x00\x03\x21\x00"  # and the maximum as a byte


def lines(*numbers: int, size: int = 0) -> list[bytes]:
    return [
        json.dumps({"type": "x", "project": "p", "number": number, "text": "x" * size}).encode() for number in numbers
    ]


def number(message) -> int | None:
    return json.loads(message.payload).get("number")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short delays."""
    short = {"FIRST_DELAY": 0.01, "LONGEST_DELAY": 0.05, "END_TIMEOUT": 0.3, "STATUS_INTERVAL": 0.1, "RETURN_TIME": 0.3}
    for name, value in short.items():
        monkeypatch.setattr(publisher, name, value)
    monkeypatch.setattr(marker, "ECHO_TIMEOUT", 0.1)


class Running:
    """A running publisher, with a tick that is shorter than a second."""

    def __init__(self, kept: store.Store, broker, **changed) -> None:
        options = config.Mqtt(
            **{"hostname": "127.0.0.1", "port": broker.port, "topic": "gerrit", "republish_max": 0, **changed}
        )
        self.kept, self.status = kept, status.Status(kept)
        self.publisher = publisher.Publisher(options, kept, self.status)

    async def __aenter__(self) -> Running:
        self._running = asyncio.create_task(self.publisher.run())
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def _tick(self) -> None:
        while True:
            with contextlib.suppress(sqlite3.OperationalError):
                self.kept.tick(NOW)
            self.publisher.tick()
            await asyncio.sleep(0.02)

    async def until(self, condition, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.status.line()
            assert not self._running.done(), self._running.result()
            assert not self._ticking.done(), self._ticking.result()
            await asyncio.sleep(0.005)

    async def __aexit__(self, *_exc: object) -> None:
        begin = time.monotonic()
        self.publisher.stop()
        await asyncio.wait_for(self._running, 5)
        self._ticking.cancel()
        self.took = time.monotonic() - begin


def play(scenario) -> None:
    """Run a scenario, and fail on errors that asyncio would only log."""

    async def main() -> None:
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        await scenario()
        assert problems == []

    asyncio.run(main())


# ---- order and acknowledgements --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [5, 4])
def test_waiting_events_are_published_once_in_order(kept, broker, version):
    if version == 4:
        broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}

    async def scenario():
        kept.add(lines(*range(250)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
            kept.add(lines(*range(250, 500)), NOW)
            running.publisher.pump()
            await running.until(lambda: not kept.waiting)
        events = [message for message in broker.all if message.topic == "gerrit/p/x"]
        assert [number(message) for message in events] == list(range(500))
        assert {(message.qos, message.retain) for message in events} == {(1, False)}
        assert kept.count("acknowledged") == 500

    play(scenario)


@pytest.mark.parametrize(("maximum", "most"), [(1, 1), (2, 2), (20, 20), (200, publisher.WINDOW)])
def test_the_receive_maximum_is_respected(kept, broker, maximum, most):
    """Status messages count too."""
    broker.welcome = {5: WELCOME_WITH_MAXIMUM + bytes([maximum])}
    broker.answer = lambda _message: None

    async def scenario():
        kept.add(lines(*range(300)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: broker.sessions and broker.sessions[0].unacknowledged >= most)
            running.status.gerrit = "another"
            running.publisher.tell()
            await asyncio.sleep(0.1)
        assert broker.sessions[0].most_unacknowledged <= most + 1  # the last status message

    play(scenario)


def test_a_receive_maximum_of_one_works(kept, broker):
    broker.welcome = {5: WELCOME_WITH_MAXIMUM + b"\x01"}

    async def scenario():
        kept.add(lines(*range(30)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert [event["number"] for event in broker.events()] == list(range(30))
        assert broker.sessions[0].most_unacknowledged == 1

    play(scenario)


def test_large_events_do_not_fill_the_memory(kept, broker):
    broker.answer = lambda _message: None

    async def scenario():
        kept.add(lines(*range(20), size=store.MIB // 2), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: len(broker.events()) == 2)
            await asyncio.sleep(0.1)
            assert len(broker.events()) == 2

    play(scenario)


def test_only_acknowledged_events_are_removed(kept, broker):
    broker.answer = lambda message: 0 if (number(message) or 0) % 2 == 0 else None

    async def scenario():
        kept.add(lines(*range(10)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: kept.waiting == 5)
            await asyncio.sleep(0.05)
        kept.rewind()
        assert [json.loads(row.line)["number"] for row in kept.take(99)] == [1, 3, 5, 7, 9]

    play(scenario)


def test_unacknowledged_events_are_sent_again_in_order(kept, broker):
    lost = {"count": 0}

    def answer(message):
        if number(message) == 50:
            lost["count"] += 1
            return "hang up" if lost["count"] == 1 else 0
        return 0

    broker.answer = answer

    async def scenario():
        kept.add(lines(*range(200)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        first, second = (
            [number(one) for one in session.published if one.topic == "gerrit/p/x"] for session in broker.sessions
        )
        assert first == list(range(51))
        assert second[0] <= 50  # acknowledgements in flight may be lost
        assert second == list(range(second[0], 200))
        assert broker.sessions[0].client_id == broker.sessions[1].client_id == kept.client_id()

    play(scenario)


def test_a_broker_that_was_down_gets_all_events(kept, broker):
    async def scenario():
        async with broker, Running(kept, broker) as running:
            await running.until(broker.statuses)
            kept.add(lines(*range(100)), NOW)
            running.publisher.pump()
            await broker.stop()
            kept.add(lines(*range(100, 200)), NOW)
            running.publisher.pump()
            await running.until(lambda: "cannot be reached" in running.status.broker)
            await broker.start(broker.port)
            await running.until(lambda: not kept.waiting)
        found = [event["number"] for event in broker.events()]
        assert sorted(set(found)) == list(range(200))
        assert found[-100:] == list(range(100, 200))

    play(scenario)


def test_a_broker_that_does_not_acknowledge_is_disconnected(kept, broker, monkeypatch):
    monkeypatch.setattr(publisher, "ACKNOWLEDGE_TIMEOUT", 0.1)
    broker.answer = lambda message: 0 if len(broker.sessions) > 1 else None

    async def scenario():
        kept.add(lines(1, 2), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert len(broker.sessions) == 2

    play(scenario)


def test_unusable_lines_are_counted_and_skipped(kept, broker):
    async def scenario():
        kept.add([b"nonsense", *lines(1), b"[]", *lines(2), b"{}"], NOW)
        kept.close_gap(NOW, "why")
        kept.open_gap()
        kept.close_gap(NOW + 9, "why")
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert [message.topic for message in broker.all if "status" not in message.topic] == [
            "gerrit/p/x",
            "gerrit/p/x",
            "gerrit/germqtt/gap",
        ]
        assert broker.events()[-1]["reason"] == "why"
        assert (kept.count("unusable"), kept.count("acknowledged")) == (3, 2)

    play(scenario)


# ---- rejections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0x87, 0x97])
def test_events_are_kept_while_the_acl_denies_publishing(kept, broker, code):
    refusing = {"on": True}
    broker.answer = lambda message: code if refusing["on"] and number(message) is not None else 0

    async def scenario():
        kept.add(lines(1, 2, 3), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: len(broker.sessions) > publisher.MOST_STRIKES + 2, 10)
            assert (
                "refuses to publish below gerrit/" in running.status.broker or running.status.broker == status.CONNECTED
            )
            assert (kept.waiting, kept.count("refused")) == (3, 0)
            refusing["on"] = False
            await running.until(lambda: not kept.waiting)
        assert [event["number"] for event in broker.events()][-3:] == [1, 2, 3]

    play(scenario)


GAP = "gerrit/germqtt/gap"


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_a_permanently_rejected_event_does_not_end_the_connection(kept, broker, caplog, code):
    """Mosquitto answers 0x95 to a payload above its message_size_limit."""
    broker.answer = lambda message: code if number(message) == 2 else 0

    async def scenario():
        kept.add(lines(1, 2, 3, 4), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert len(broker.sessions) == 1
        assert [number(one) for one in broker.all].count(2) == 1
        assert [one["events"] for one in broker.events() if one["type"] == "gap"] == [1]
        assert (kept.count("refused"), kept.count("acknowledged"), kept.count("gaps")) == (1, 3, 1)
        assert broker.statuses()[-1]["refused"] == 1

    play(scenario)
    assert "nobody understands" not in caplog.text
    [said] = [record.getMessage() for record in caplog.records if "does not take" in record.getMessage()]
    assert said.startswith(f"the broker does not take an event of {len(lines(2)[0])} bytes on gerrit/p/x: ")


def with_maximum_packet(size: int) -> bytes:
    """The CONNACK of a broker that announces its Maximum Packet Size."""
    return b"\x20\x08\x00\x00\x05\x27" + size.to_bytes(4, "big")


def test_the_maximum_packet_size_of_the_broker_is_respected(kept, broker, caplog):
    """Exact to the byte. A larger event is not sent; a gap message replaces it at once."""
    largest = len(lines(1, size=1000)[0]) + 1 + 2 + (2 + len("gerrit/p/x")) + 2 + 1
    broker.welcome = {5: with_maximum_packet(largest)}

    async def scenario():
        kept.add([*lines(1, size=1000), *lines(2, size=1001), *lines(3, 4), *lines(5, size=400_000)], NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert len(broker.sessions) == 1
        events = [number(one) or one.topic for one in broker.all if not one.topic.endswith("/status")]
        assert events == [1, GAP, 3, 4, GAP]
        assert max(one.size for one in broker.all) == largest
        assert (kept.count("refused"), kept.count("acknowledged"), kept.count("gaps")) == (2, 3, 2)

    play(scenario)
    assert f"on gerrit/p/x: the broker's maximum packet size is {largest} bytes" in caplog.text


@pytest.mark.parametrize("version", [5, 4])
def test_the_configured_limit_is_respected(kept, broker, caplog, version):
    """MQTT 3.1.1 announces no limit, and no version announces Mosquitto's message_size_limit."""
    if version == 4:
        broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}

    async def scenario():
        most = len(lines(1, size=1000)[0])
        kept.add([*lines(1, size=1000), *lines(2, size=1001), *lines(3)], NOW)
        async with broker, Running(kept, broker, max_payload=most) as running:
            await running.until(lambda: not kept.waiting)
        events = [number(one) or one.topic for one in broker.all if not one.topic.endswith("/status")]
        assert events == [1, GAP, 3]
        assert f"[mqtt] max_payload is {most} bytes" in caplog.text

    play(scenario)


def test_a_large_event_is_kept_while_the_disk_is_full(kept, broker, full_disk):
    async def scenario():
        kept.add(lines(1, 2, size=1000), NOW)
        async with broker, Running(kept, broker, max_payload=500) as running:
            with full_disk(kept):
                await running.until(broker.statuses)
                await asyncio.sleep(0.05)
                assert (kept.waiting, kept.count("refused")) == (2, 0)
            await broker.stop()
            await broker.start(broker.port)
            await running.until(lambda: not kept.waiting)
        assert (kept.count("refused"), kept.count("gaps")) == (2, 2)

    play(scenario)


@pytest.mark.parametrize("how", ["hang up", 0x83])
def test_an_event_that_ends_connections_is_replaced_by_a_gap(kept, broker, how):
    broker.answer = lambda message: how if number(message) == 2 else 0

    async def scenario():
        kept.add(lines(1, 2, 3, 4), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting, 10)
        tries = [number(one) for one in broker.all].count(2)
        assert tries == publisher.MOST_STRIKES
        assert all(len(session.published) <= 2 for session in broker.sessions[1:tries])  # only it, and the status
        told = [json.loads(one.payload).get("number", one.topic) for one in broker.sessions[-1].published]
        assert told[:2] == ["gerrit/germqtt/status", "gerrit/germqtt/gap"]
        assert {3, 4} <= {number(one) for one in broker.all}
        [gap] = [event for event in broker.events() if event["type"] == "gap"]
        assert gap["from"] <= NOW <= gap["to"]
        assert (gap["reason"], gap["events"]) == ("the broker does not take it", 1)
        assert (kept.count("refused"), kept.count("acknowledged"), kept.count("gaps")) == (1, 3, 1)

    play(scenario)


def test_lost_connections_do_not_drop_events(kept, broker):
    """Each connection ends at another event."""
    seen = set()

    def answer(message):
        if number(message) in seen or number(message) is None:
            return 0
        seen.add(number(message))
        return "hang up"

    broker.answer = answer

    async def scenario():
        kept.add(lines(*range(20)), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting, 20)
        assert kept.count("refused") == 0
        assert kept.count("acknowledged") == 20

    play(scenario)


@pytest.mark.parametrize(
    ("welcome", "said"),
    [
        (b"\x20\x03\x00\x87\x00", "refuses germqtt: not authorized"),
        (b"\x20\x03\x00\x88\x00", "refuses germqtt: server unavailable"),
        (b"", "cannot be reached: "),
        (b"\x20\x03\x00", "cannot be reached: there is no answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be reached: "),
        (b"\x20\x05\x00\x00\x02\xff\xff", "cannot be reached: "),
        (b"\x20\x00", "cannot be reached: "),
        (None, "cannot be reached: there is no answer"),
    ],
)
def test_a_rejected_login_is_retried(kept, broker, broker_kind, monkeypatch, welcome, said):
    from germqtt import connection  # noqa: PLC0415

    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.2)
    broker.welcome = {5: welcome}

    async def scenario():
        kept.add(lines(1), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: running.status.broker.startswith(said))
            broker.welcome = broker_kind.welcome
            await running.until(lambda: not kept.waiting)

    play(scenario)


def test_germqtt_falls_back_to_mqtt_3_1_1(kept, broker):
    broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}

    async def scenario():
        kept.add(lines(1), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: not kept.waiting)
        assert [session.version for session in broker.sessions] == [5, 4]
        assert broker.sessions[1].polite

    play(scenario)


@pytest.mark.parametrize(
    "nonsense", [b"\x40\x03\x00\x01\xfe", b"\x40\x01\x00", b"\xe0\x02\xfe\x00", b"\x00\x00", b"\xf0\x00"]
)
def test_germqtt_reconnects_after_malformed_packets(kept, broker, nonsense):
    broker.nonsense = nonsense

    async def scenario():
        kept.add(lines(1), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: len(broker.sessions) > 1)
            broker.nonsense = b""
            await running.until(lambda: not kept.waiting)

    play(scenario)


# ---- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [5, 4])
def test_the_status_is_retained_and_ends_offline(kept, broker, version):
    if version == 4:
        broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}

    async def scenario():
        async with broker, Running(kept, broker, username="germqtt", password="secret", keepalive=33) as running:
            await running.until(broker.statuses)
            running.status.gerrit = status.CONNECTED
            await running.until(lambda: broker.statuses()[-1]["gerrit"] == status.CONNECTED)
            await running.until(lambda: not kept.waiting)
        session = broker.sessions[-1]
        assert (session.username, session.password, session.keepalive) == ("germqtt", "secret", 33)
        topic, will, qos, retained = session.will
        assert (topic, qos, retained) == ("gerrit/germqtt/status", 1, True)
        # The broker publishes it at an unknown time, so it has no values that change until then.
        assert json.loads(will).keys() == {"state", "version", "since"}
        assert json.loads(will)["state"] == "offline"
        assert session.polite
        found = broker.statuses()
        assert [one["state"] for one in found] == ["online"] * (len(found) - 1) + ["offline"]
        assert all(message.retain and message.qos == 1 for message in session.published)
        assert len(found) == 3  # no status is repeated

    play(scenario)


def test_frequent_status_changes_do_not_queue_up(kept, broker):
    broker.answer = lambda message: 0 if number(message) else None

    async def scenario():
        async with broker, Running(kept, broker) as running:
            await running.until(broker.statuses)
            for one in range(50):
                running.status.gerrit = str(one)
                running.publisher.tell()
            await asyncio.sleep(0.05)
            assert len(broker.statuses()) == 1

    play(scenario)


# ---- shutdown --------------------------------------------------------------------------------------------------------


def test_shutdown_waits_for_the_last_acknowledgements(kept, broker):
    late = []
    publish = broker._publish

    def answer_late(session, packet, writer):
        keep_on = publish(session, packet, writer)
        message = session.published[-1]
        if number(message):
            asyncio.get_running_loop().call_later(0.1, broker.acknowledge, session, writer, message.number)
            late.append(message)
        return keep_on

    broker.answer = lambda message: None if number(message) else 0
    broker._publish = answer_late

    async def scenario():
        kept.add(lines(1, 2, 3), NOW)
        async with broker, Running(kept, broker) as running:
            await running.until(lambda: len(late) == 3)
        assert kept.waiting == 0
        assert broker.statuses()[-1]["state"] == "offline"
        assert running.took < 0.3

    play(scenario)


@pytest.mark.parametrize("answers", ["nothing", "no welcome", "away"])
def test_shutdown_has_a_time_limit(kept, broker, monkeypatch, answers):
    from germqtt import connection  # noqa: PLC0415

    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.2)
    broker.answer = lambda _message: None
    if answers == "no welcome":
        broker.welcome = {5: None}

    async def scenario():
        kept.add(lines(1), NOW)
        async with broker:
            if answers == "away":
                await broker.stop()
            async with Running(kept, broker) as running:
                await asyncio.sleep(0.1)
        assert running.took < 1
        assert kept.waiting == 1

    play(scenario)


def test_a_full_disk_does_not_stop_publishing(kept, broker, full_disk):
    async def scenario():
        kept.add([*lines(*range(150)), b"nonsense", *lines(*range(150, 300))], NOW)
        async with broker, Running(kept, broker) as running:
            with full_disk(kept):
                await running.until(lambda: len(broker.events()) == 300)
                assert kept.waiting == 301
            await running.until(lambda: kept.waiting == 1)
        assert [event["number"] for event in broker.events()] == list(range(300))

    play(scenario)


# ---- acknowledged events that the broker lost -------------------------------------------------------------------------

MOST = 40


def running(kept: store.Store, broker, **changed) -> Running:
    return Running(kept, broker, **{"republish_max": MOST, **changed})


async def publish(run: Running, broker, *numbers: int) -> None:
    """Publish events, and wait until the broker has stored them and their acknowledgements have arrived."""
    run.kept.add(lines(*numbers), NOW)
    run.publisher.pump()
    await remembered(run, broker)


async def remembered(run: Running, broker) -> None:
    def done() -> bool:
        queue = broker.memory.queues.get(run.kept.client_id(), {})
        markers = [payload for _topic, payload in queue.values()]
        return not run.kept.waiting and markers == [f"{run.kept.client_id()} {run.kept.number}".encode()]

    await run.until(done)


def came(broker) -> list[int]:
    """The numbers of all received events, including lost ones."""
    return [
        found for one in broker.all if (found := number(one) if not one.topic.startswith("$") else None) is not None
    ]


@pytest.mark.parametrize("version", [5, 4])
def test_events_lost_in_a_crash_are_repeated_before_newer_events(kept, broker, caplog, version):
    if version == 4:
        broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}

    async def scenario():
        async with broker, running(kept, broker) as run:
            await publish(run, broker, *range(10))
            broker.save()
            await publish(run, broker, *range(10, 15))
            await publish(run, broker, *range(15, 20))
            kept.add(lines(20, 21), NOW)
            await broker.crash()
            await remembered(run, broker)
        assert broker.remembered() == list(range(22))
        assert sorted(came(broker)) == sorted([*range(22), *range(10, 20)])
        assert (kept.count("acknowledged"), kept.count("repeated")) == (22, 10)

    play(scenario)
    assert "the broker may have lost events that it had acknowledged: 10 are published again" in caplog.text


def test_publishing_waits_for_subscribers_after_the_broker_lost_its_store(kept, broker):
    """No event is published before that. A gap message for missing events follows the repeated events."""

    async def scenario():
        async with broker, running(kept, broker) as run:
            await publish(run, broker, *range(100))
            sessions, known = len(broker.sessions), len(broker.memory.events)
            assert known > 100
            await broker.crash()
            lost = time.monotonic()
            await run.until(lambda: len(broker.sessions) > sessions)
            await run.until(lambda: broker.memory.events)
            assert time.monotonic() - lost >= publisher.RETURN_TIME
            await remembered(run, broker)
        again = [one for one in broker.memory.events if not one.retain]
        window = run.publisher._window
        assert [number(one) for one in again] == [*range(100 - MOST + window, 100), None]
        assert json.loads(again[-1].payload)["reason"].startswith("the broker has lost its store")

    play(scenario)


@pytest.mark.parametrize("fault", ["restart", "cut", "cut and restart"])
def test_no_event_is_repeated_after_a_restart_or_network_failure(kept, broker, fault):
    async def scenario():
        async with broker, running(kept, broker) as run:
            for start in range(0, 30, 10):
                await publish(run, broker, *range(start, start + 10))
                sessions = len(broker.sessions)
                if "cut" in fault:
                    broker.cut()
                if "restart" in fault:
                    await broker.restart()
                await run.until(lambda before=sessions: len(broker.sessions) > before and run.publisher._connection)
        assert came(broker) == broker.remembered() == list(range(30))
        assert kept.count("repeated") == 0

    play(scenario)


def test_no_event_is_repeated_after_a_crash_without_a_loss(kept, broker):
    async def scenario():
        async with broker, running(kept, broker) as run:
            await publish(run, broker, *range(10))
            broker.save()
            await broker.crash()
            await publish(run, broker, 10)
        assert came(broker) == list(range(11))

    play(scenario)


def test_repeated_events_that_were_saved_are_not_repeated_again(kept, broker):
    async def scenario():
        async with broker, running(kept, broker) as run:
            await publish(run, broker, *range(5))
            await broker.crash()
            await remembered(run, broker)
            broker.save()
            await broker.crash()
            await publish(run, broker, 5)
        assert came(broker) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]

    play(scenario)


@pytest.mark.parametrize("most", [2, 3, MOST, 500])
def test_the_number_of_repeated_events_is_limited(kept, broker, most):
    """This includes events in flight and the last acknowledged ones."""
    broker.answer = lambda one: None if one.topic == "gerrit/p/x" and number(one) >= 400 else 0

    async def scenario():
        kept.add(lines(*range(600)), NOW)
        async with broker, running(kept, broker, republish_max=most) as run:
            window = run.publisher._window
            await run.until(lambda: len(came(broker)) == 400 + window)
            await run.until(lambda: kept.count("acknowledged") == 400)
            broker.answer = lambda _message: 0
            await broker.crash()
            await remembered(run, broker)
        again = came(broker)[400 + window :]
        assert again == list(range(400 + window - min(most, 400 + window), 600))
        assert broker.remembered() == again

    play(scenario)


@pytest.mark.parametrize("how", ["germqtt", "both"])
def test_a_loss_is_detected_after_a_restart_of_germqtt(kept, broker, how):
    path = pathlib.Path(kept._db.execute("PRAGMA database_list").fetchone()[2])

    async def scenario():
        async with broker:
            async with running(kept, broker) as run:
                await publish(run, broker, *range(10))
            kept.close()
            if how == "both":
                await broker.crash()
            again = store.Store(config.Store(path=path))
            async with running(again, broker) as run:
                await publish(run, broker, 10)
            again.close()
        assert came(broker) == [*range(10), *(range(10) if how == "both" else []), 10]

    play(scenario)


def test_shutdown_does_not_wait_for_a_missing_marker(kept, broker):
    broker.answer = lambda _message: None

    async def scenario():
        async with broker, running(kept, broker) as run:
            await run.until(lambda: broker.all)
        assert run.took < 1

    play(scenario)


@pytest.mark.parametrize("right", ["allows_markers", "allows_reading"])
@pytest.mark.parametrize("version", [5, 4])
def test_denied_markers_cause_one_warning_and_disable_repetition(kept, broker, caplog, right, version):
    if version == 4:
        broker.welcome = broker.welcome | {5: b"\x20\x02\x00\x01"}
    setattr(broker, right, False)

    async def scenario():
        async with broker, running(kept, broker) as run:
            for start in range(0, 30, 10):
                kept.add(lines(*range(start, start + 10)), NOW)
                await run.until(lambda: not kept.waiting)
                broker.cut()
                await run.until(lambda: run.status.broker != "connected")
        assert came(broker) == list(range(30))
        assert kept._db.execute("SELECT count(*) FROM waiting").fetchone() == (0,)

    play(scenario)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "the broker does not let germqtt publish and read $germqtt/gerrit: what a crash of it loses is lost"
    ]


def test_repetition_can_be_disabled(kept, broker):
    async def scenario():
        async with broker, running(kept, broker, republish_max=0) as run:
            kept.add(lines(1), NOW)
            await run.until(lambda: not kept.waiting)
        assert not any(one.topic.startswith("$") for one in broker.all)
        assert broker.sessions[0].clean

    play(scenario)


@pytest.mark.parametrize("waiting", [1, 100])
def test_a_marker_follows_events_immediately(kept, broker, waiting):
    """It does not wait for acknowledgements, so that received events are not repeated. It respects the broker's limit."""
    broker.welcome = {5: WELCOME_WITH_MAXIMUM + bytes([20])}
    broker.answer = lambda one: None if one.topic == "gerrit/p/x" else 0

    async def scenario():
        async with broker, running(kept, broker) as run:
            await run.until(lambda: broker.statuses() and not run.publisher._sent)
            run._ticking.cancel()
            kept.add(lines(*range(waiting)), NOW)
            run.publisher.pump()
            await asyncio.sleep(0.1)
            assert len(came(broker)) == min(waiting, 20)
            assert broker.all[-1].topic == ("$germqtt/gerrit" if waiting == 1 else "gerrit/p/x")
            assert broker.sessions[0].most_unacknowledged <= 20

    play(scenario)


def test_foreign_and_malformed_markers_are_ignored(kept, broker):
    """Another germqtt may use the same topic."""

    async def scenario():
        async with broker, running(kept, broker) as run:
            await publish(run, broker, *range(5))
            queue = broker.memory.queues[kept.client_id()]
            for index, payload in enumerate([b"another 99", b"\xff", b"", kept.client_id().encode(), b"another probe"]):
                queue[100 + index] = "$germqtt/gerrit", payload
            broker.save()
            for index in range(5):
                del queue[100 + index]
            await publish(run, broker, 5)
            await broker.crash()
            await remembered(run, broker)
        assert broker.remembered() == list(range(6))

    play(scenario)


def test_status_messages_make_mosquitto_2_0_save_in_time(kept, broker):
    """Mosquitto saves for a retained message, so one is sent before more events are unsaved than germqtt keeps."""

    async def scenario():
        async with broker, running(kept, broker, republish_max=200) as run:
            kept.add(lines(*range(1000)), NOW)
            await run.until(lambda: not kept.waiting)
        retained = [one.topic.endswith("/status") for one in broker.all if not one.topic.startswith("$")]
        between = [len(list(run)) for is_status, run in itertools.groupby(retained) if not is_status]
        assert max(between) <= 200
        assert len(between) >= 5

    play(scenario)


FAULTS = st.lists(st.sampled_from(["add", "add", "save", "crash", "restart", "cut", "kill"]), max_size=12)


@settings(max_examples=25, deadline=None)
@given(faults=FAULTS)
def test_random_failures_lose_no_event_and_repeat_few(broker_kind, faults):
    """Subscribers get events in order, except for repeated ones."""

    async def scenario(path: pathlib.Path):
        broker, numbers, allowed = broker_kind(), itertools.count(), 0
        options = config.Store(path=path)
        async with broker:
            kept = store.Store(options)
            run = await running(kept, broker).__aenter__()
            for fault in [*faults, "add"]:
                if fault == "add":
                    await publish(run, broker, *itertools.islice(numbers, 7))
                elif fault == "save":
                    broker.save()
                elif fault == "kill":
                    await run.__aexit__()
                    kept.close()
                    kept = store.Store(options)
                    run = await running(kept, broker).__aenter__()
                elif fault == "cut":
                    broker.cut()
                else:
                    allowed += MOST * (fault == "crash")
                    await getattr(broker, fault)()
            await remembered(run, broker)
            await run.__aexit__()
            kept.close()
        total = next(numbers)
        # Only the last MOST events can be repeated, so the number of unsaved events must not be higher.
        if faults.count("add") * 7 <= MOST - run.publisher._window:
            assert sorted(set(broker.remembered())) == list(range(total))
        assert len(came(broker)) - len(set(came(broker))) <= allowed
        firsts = list(dict.fromkeys(broker.remembered()))
        assert firsts == sorted(firsts)

    with tempfile.TemporaryDirectory() as folder:
        play(lambda: scenario(pathlib.Path(folder) / "events.sqlite"))
