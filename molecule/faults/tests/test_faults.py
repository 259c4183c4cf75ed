# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures while events flow: no event is lost silently, and the order is kept."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import time
import typing as t

import pytest
from firehose_testing.accounting import Account
from firehose_testing.faults import LONG, SHORT_RATE, Bench
from firehose_testing.hostile import packets
from firehose_testing.public import public_units
from firehose_testing.runs import addresses, run_playbook, try_playbook
from firehose_testing.undoing import undone

SEED = 20161026
DROP = """table inet fault {
    chain in { type filter hook input priority 0; tcp sport 29418 drop; };
    chain out { type filter hook output priority 0; tcp dport 29418 drop; };
}"""
# The broker does not notice it.
CUT = """table inet fault {
    chain out { type filter hook output priority 0; meta skuid germqtt tcp dport 884 reject with tcp reset; };
}"""
# How often the broker is killed in each of four tests, and how many events arrive again each time at most:
# germqtt_republish_max.
CRASHES, MOST_AGAIN = 13 if LONG else 2, 1000
# Sends to the accounts broker until it ends the connection
SENDER = """
import socket, sys
with socket.create_connection(("127.0.0.1", 800)) as broker:
    broker.sendall(sys.stdin.buffer.read())
    while broker.recv(4096):
        pass
"""
STORE, BROKER = "/var/lib/germqtt", "/var/lib/mosquitto"


def assert_none_is_missing(account: Account) -> None:
    """The failure is downstream of germqtt: each event was stored, acknowledged and received."""
    assert account.emitted == account.stored == account.acknowledged == account.received
    assert_stored_ones_arrive(account)


def assert_stored_ones_arrive(account: Account) -> None:
    """The failure is in germqtt or upstream of it: stored events arrive, and gap messages cover the others."""
    assert account.uncovered == 0
    assert account.stored == account.acknowledged == account.received
    assert account.disordered == []


def assert_little_comes_again(account: Account, crashes: int = CRASHES) -> None:
    """No event older than the last save arrives again."""
    assert account.duplicates <= crashes * MOST_AGAIN
    assert account.reach <= MOST_AGAIN


def crashes(bench: Bench, name: str, state: t.Callable[[], t.ContextManager[None]], *others: str) -> Account:
    """Kill the broker, and other services with it, at random moments. Events flow, and the reader is in the given state."""
    moments = random.Random(f"{SEED} {name}")

    def cause() -> None:
        for _time in range(CRASHES):
            with state():
                time.sleep(moments.uniform(0.5, 3))
                bench.crash("mosquitto", *others)

    account = bench.run(name, 20, 150, cause, loaded=True)
    assert_little_comes_again(account)
    return account


def test_the_broker_restarts(bench: Bench) -> None:
    account = bench.run("broker restarts", 5, 60, lambda: bench.host.check_output("systemctl restart mosquitto"))
    assert_none_is_missing(account)


def test_the_broker_is_killed(bench: Bench) -> None:
    """Again and again, at random moments. germqtt publishes events again that the broker had acknowledged and not saved."""
    account = crashes(bench, "broker is killed", contextlib.nullcontext)
    assert_none_is_missing(account)


@pytest.mark.parametrize("state", ["away", "hanging"])
def test_the_broker_is_killed_with_a_reader_away_or_hanging(bench: Bench, state: str) -> None:
    """Only its session has the events. Up to 20 of them are in flight to a hanging reader."""
    account = crashes(bench, f"broker is killed, reader {state}", getattr(bench.reader, state))
    assert_none_is_missing(account)


def test_the_broker_and_germqtt_are_killed(bench: Bench) -> None:
    account = crashes(bench, "broker and germqtt are killed", bench.reader.away, "germqtt")
    assert account.stored < account.emitted
    assert_stored_ones_arrive(account)


@pytest.mark.parametrize(
    ("fault", "do", "undo"),
    [
        ("a restart of the broker", "systemctl restart mosquitto", "true"),
        ("a cut connection", f"nft '{CUT}'", "nft delete table inet fault"),
    ],
)
def test_no_acknowledged_event_is_published_again(bench: Bench, fault: str, do: str, undo: str) -> None:
    """No event that the broker had acknowledged is repeated. When the network is cut, the broker still has germqtt's old connection."""
    before, begun = bench.repeated(), len(bench.reader.messages())
    for _part in range(3 if LONG else 1):
        bench.run(f"quiet before {fault}", 2, 6, lambda: None)
        connection = bench.connections()
        with undone(bench.host, do, undo):
            bench.wait_for_end_of(connection)
        bench.settle()
    came = [(one["run"], one["number"]) for _moment, _topic, one in bench.reader.messages()[begun:] if "run" in one]
    assert len(came) == len(set(came)) > 0
    assert bench.repeated() == before


def test_the_broker_loses_its_store(bench: Bench) -> None:
    """germqtt publishes when the others have subscribed again, and reports a gap. The same holds if the broker crashes again within a second."""
    begun = len(bench.reader.messages())

    def cause() -> None:
        bench.lose_store()
        bench.crash("mosquitto")

    account = bench.run("broker loses its store", 8, 60, cause)
    assert_none_is_missing(account)
    assert_little_comes_again(account, 2)
    reasons = [
        one["reason"] for _moment, topic, one in bench.reader.messages()[begun:] if topic == "gerrit/germqtt/gap"
    ]
    assert [reason for reason in reasons if reason.startswith("the broker has lost its store")]
    assert "is damaged" in bench.host.check_output("journalctl --unit mosquitto --priority warning --since -5min")


def test_the_broker_loses_its_latest_writes(bench: Bench) -> None:
    """As after a power loss, with germqtt_store_fsync. The reader is away: only the broker or germqtt has its events."""

    def cause() -> None:
        with bench.reader.away():
            time.sleep(1)
            bench.lose_writes(0.5)

    account = bench.run("broker loses its latest writes", 8, 100, cause)
    assert_none_is_missing(account)
    assert_little_comes_again(account, 1)


def test_broker_and_germqtt_lose_their_latest_writes(bench: Bench) -> None:
    """As after a power loss, without germqtt_store_fsync: gap messages cover all events that do not arrive.

    The repeated events end where germqtt's store ends, so there is no order to check.
    """
    account = bench.run("both lose their latest writes", 8, 60, lambda: bench.lose_writes(1, "germqtt"))
    assert account.emitted - account.received == account.in_gaps
    assert_little_comes_again(account, 1)


def test_the_broker_is_down_for_a_while(bench: Bench) -> None:
    def cause() -> None:
        with undone(bench.host, "systemctl stop mosquitto", "systemctl start mosquitto"):
            time.sleep(120 if LONG else 7)

    assert_none_is_missing(bench.run("broker stays away", 10, 150, cause))


def test_germqtt_is_killed(bench: Bench) -> None:
    moments = random.Random(SEED)

    def cause() -> None:
        for _time in range(8 if LONG else 2):
            time.sleep(moments.uniform(0.5, 5 if LONG else 2))
            bench.host.check_output("systemctl kill --signal KILL germqtt")
            bench.wait_until(lambda: bench.status().startswith("Gerrit connected"), "germqtt is back", 30)

    account = bench.run("germqtt is killed", 12, 90, cause)
    assert account.stored < account.emitted
    assert_stored_ones_arrive(account)


def test_the_stream_is_cut(bench: Bench) -> None:
    account = bench.run("stream is cut", 6, 60, bench.gerrit.drop_streams)
    assert account.stored < account.emitted
    assert account.duplicates == 0
    assert_stored_ones_arrive(account)


def test_the_network_drops_all_packets(bench: Bench) -> None:
    """All packets are dropped silently. germqtt detects this within a minute."""

    def cause() -> None:
        with undone(bench.host, f"nft '{DROP}'", "nft delete table inet fault"):
            begun = time.monotonic()
            bench.wait_until(lambda: "Gerrit does not stream" in bench.status(), "germqtt noticed", 60)
            noticed.append(time.monotonic() - begun)
            time.sleep(20 if LONG else 0)

    noticed: list[float] = []
    account = bench.run("link goes silent", 45, 120, cause)
    assert noticed[0] < 60
    assert account.stored < account.emitted
    assert account.duplicates == 0
    assert_stored_ones_arrive(account)


@pytest.mark.parametrize(("fault", "signal"), [("restarts", "SIGRTMIN+3"), ("is killed", "SIGKILL")])
def test_the_host_restarts_or_is_killed(bench: Bench, fault: str, signal: str) -> None:
    name = bench.host.backend.name

    def cause() -> None:
        subprocess.run(["docker", "kill", "--signal", signal, name], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["docker", "wait", name], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["docker", "start", name], check=True, stdout=subprocess.DEVNULL)
        bench.wait_until_connected()

    account = bench.run(f"host {fault}", 18, 90, cause)
    assert bench.host.check_output("hostname -i") == bench.firehose.address
    assert account.stored < account.emitted
    assert_stored_ones_arrive(account)
    assert_little_comes_again(account, 1)


def small_disk(bench: Bench, service: str, store: str, size: str) -> t.ContextManager[None]:
    """Give a service a small file system for its store. The file that fills it is removed with it."""
    kept = f"/root/{service}-store"
    do = f"""systemctl stop {service} && cp --archive {store} {kept} && mount -t tmpfs -o size={size},mode=0700 none {store} &&
        chown {service}:{service} {store} && cp --archive {kept}/. {store} && systemctl start {service}"""
    undo = f"""systemctl stop {service} && rm --force {store}/full && cp --archive {store}/. {kept} && umount {store} &&
        cp --archive {kept}/. {store} && rm --recursive {kept} && systemctl start {service}"""
    return undone(bench.host, do, undo)


def test_the_disk_is_full(bench: Bench) -> None:
    """germqtt reads no events while it cannot store any, and Gerrit's side buffers them."""

    def cause() -> None:
        with undone(bench.host, f"dd if=/dev/zero of={STORE}/full bs=4k 2>/dev/null; true", f"rm {STORE}/full"):
            bench.wait_until(lambda: "cannot be written" in bench.journal(), "germqtt says that the disk is full", 20)
            time.sleep(30 if LONG else 3)

    with small_disk(bench, "germqtt", STORE, "64m"):
        account = bench.run("disk is full", 8, 90, cause)
    assert_none_is_missing(account)
    assert account.duplicates == 0


@contextlib.contextmanager
def long_subscriptions(bench: Bench) -> t.Iterator[None]:
    """A session with 900 KB of topic filters, which Mosquitto 2.0 saves after all messages."""

    def connect(*, clean: bool) -> bytes:
        return packets.connect(packets.V3, "long", username="durable", password="only-for-tests-durable", clean=clean)

    def send(*data: bytes) -> None:
        # HAProxy accepts no such subscription, so this connects to the broker directly.
        command = ["docker", "exec", "--interactive", bench.host.backend.name, "python3", "-c", SENDER]
        subprocess.run(command, input=b"".join([*data, packets.DISCONNECT]), check=True, timeout=30)

    filters = [[f"long/{packet}/{number}/{'x' * 60_000}" for number in range(5)] for packet in range(3)]
    send(connect(clean=False), *(packets.subscribe(packets.V3, some, 1) for some in filters))
    try:
        yield
    finally:
        send(connect(clean=True))


def fill_and_crash(bench: Bench, *, has_database: bool) -> None:
    """Wait for a last save, fill the disk, wait until the operator is told, and kill the broker.

    A save finds room for its messages, and not for the sessions after them. A database finds no room at all. This is a single
    command, since germqtt publishes only the last events again.
    """
    full, saved = f"{BROKER}/full", f"{BROKER}/mosquitto.db"
    wait = f"touch /run/asked && timeout 10 sh -c 'until test {saved} -nt /run/asked; do sleep 0.1; done'"
    room = f"$(stat --format %s {saved}) - 256000"
    if has_database:
        wait, room = "sleep 2", "0"
    bench.host.check_output(
        f"""{wait} && systemctl start mosquitto-store && systemctl kill --signal STOP mosquitto &&
        ! dd if=/dev/zero of={full} bs=64k 2>/dev/null && truncate --size=$(( $(stat --format %s {full}) - ({room}) )) {full} &&
        systemctl kill --signal CONT mosquitto && {wait} &&
        systemctl start mosquitto-store && systemctl kill --signal KILL mosquitto"""
    )


def test_the_disk_of_the_broker_is_full(bench: Bench) -> None:
    """The operator is told. After a crash the broker has the last complete save, or a database that had enough room."""
    has_database = bench.host.file(f"{BROKER}/mosquitto.sqlite3").exists
    since = bench.host.check_output("date +%s")
    told: list[str] = []

    def cause() -> None:
        with bench.reader.away():
            time.sleep(2)
            with undone(bench.host, "true", f"rm {BROKER}/full"):
                fill_and_crash(bench, has_database=has_database)
                time.sleep(4)
                told.append(bench.host.check_output("mosquitto-apply --check"))

    with small_disk(bench, "mosquitto", BROKER, "200m"), long_subscriptions(bench):
        bench.wait_until(
            lambda: (
                bench.host.check_output("systemctl show --property LastTriggerUSec --value mosquitto-store.timer") != ""
            ),
            "the timer has looked",
            20,
        )
        repeated = bench.repeated()
        account = bench.run("broker's disk is full", 12, 240, cause, rate=SHORT_RATE // 2)
    assert_none_is_missing(account)
    assert account.duplicates <= MOST_AGAIN
    if has_database:
        assert bench.repeated() == repeated
    errors = bench.host.check_output("journalctl --unit mosquitto-store --priority err --output cat --since @%s", since)
    assert "MiB left, less than the" in errors
    assert "MiB left, less than the" in told[0]
    log = bench.host.check_output("journalctl --unit mosquitto --output cat --since @%s", since)
    assert ("could not write a whole" in errors) == ("starts with its last whole save" in log) == (not has_database)


def test_verify_names_damaged_stores(bench: Bench) -> None:
    """It reports the loss, and passes."""
    files = [f"{BROKER}/mosquitto.db.damaged-20300101T000000Z", f"{STORE}/events.sqlite.corrupt-20300101T000000"]
    with undone(bench.host, f"touch {' '.join(files)}", f"rm {' '.join(files)}"), bench.gerrit.events():
        run = try_playbook("verify", "--inventory", addresses({bench.host.backend.name: bench.firehose.address}))
    assert run.returncode == 0, run.stdout
    # Ansible wraps its warnings, also at hyphens.
    said = "".join(run.stdout.split())
    assert f"{files[0]}wasdamaged." in said
    assert f"germqtthasitsstore:eventsthatwaitedin{files[1]}werelost." in said


def test_the_password_is_rotated(bench: Bench) -> None:
    """A run of the playbook restarts germqtt with the new password."""

    def cause() -> None:
        run_playbook("--extra-vars", json.dumps({"germqtt_password": "only-for-tests-rotated"}))

    assert_stored_ones_arrive(bench.run("password is rotated", 25, 60, cause))


def test_a_subscriber_stalls(bench: Bench) -> None:
    """At each broker, a client subscribes to everything and reads nothing."""
    # HAProxy sends each anonymous client to the broker with the fewest connections.
    places = [(1883, {})] * len(public_units(bench.host))
    places.append((1884, {"username": "durable", "password": "only-for-tests-durable"}))

    def cause() -> None:
        with contextlib.ExitStack() as stack:
            for number, (port, login) in enumerate(places):
                stalled = stack.enter_context(socket.create_connection((bench.firehose.address, port)))
                stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stalled.sendall(
                    packets.connect(packets.V3, f"stalled-{number}", **login) + packets.subscribe(packets.V3, ["#"])
                )
            time.sleep(60 if LONG else 4)

    account = bench.run("subscriber stalls", 5, 60, cause)
    assert_none_is_missing(account)
    assert account.duplicates == 0
