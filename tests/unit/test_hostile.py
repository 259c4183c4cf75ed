# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario hostile counts correctly, and makes the intended packets."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "molecule/shared"
PACKAGE = "firehose_testing.hostile"


def load(name):
    sys.path.insert(0, str(SHARED))
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    finally:
        sys.path.remove(str(SHARED))


attack, frames, grammar, packets, scoring, target = map(
    load, ("attack", "frames", "grammar", "packets", "scoring", "target")
)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455])
def test_a_length_survives_a_round_trip(number):
    data = packets.length(number)
    assert packets.read_length(b"x" + data + b"y", 1) == (number, 1 + len(data))


def test_packets_match_the_standard():
    assert packets.connect(packets.V3, "a", keepalive=60) == bytes.fromhex("100d00044d5154540402003c000161")
    assert packets.connect(packets.V5, "a", keepalive=60) == bytes.fromhex("100e00044d5154540502003c00000161")
    will = packets.Will("t", b"w", qos=1, retain=True)
    assert packets.connect(packets.V3, "", username="u", password=b"p", will=will)[9] == 0xEE
    assert packets.publish(packets.V3, "a/b", b"x", qos=1, number=7) == bytes.fromhex("3208") + b"\0\3a/b\0\7x"
    assert packets.publish(packets.V5, "a/b", b"x") == bytes.fromhex("3007") + b"\0\3a/b\0x"
    assert packets.subscribe(packets.V3, ["#"], qos=1) == bytes.fromhex("82060001000123") + b"\1"
    assert packets.acknowledge(packets.PUBREL, 7) == bytes.fromhex("62020007")


@pytest.mark.parametrize("version", [packets.V3, packets.V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_survives_a_round_trip(version, qos):
    data = packets.publish(version, "é/b", b"payload", qos)
    assert packets.parse_publish(version, packets.Packet(data[0], data[2:])) == ("é/b", b"payload")


@pytest.mark.parametrize(("size", "head"), [(5, "8285"), (126, "82fe007e"), (65536, "82ff0000000000010000")])
def test_frames_have_their_lengths(size, head):
    assert frames.frame(bytes(size))[: len(head) // 2] == bytes.fromhex(head)
    assert len(frames.frame(bytes(size))) == len(head) // 2 + 4 + size


def test_the_same_seed_makes_the_same_packets():
    one, same, other = (grammar.Grammar(seed) for seed in (1, 1, 2))
    made = [one.connection() for _each in range(200)]
    assert made == [same.connection() for _each in range(200)]
    assert made != [other.connection() for _each in range(200)]
    assert one.framed(made[0]) == same.framed(made[0])


def test_the_grammar_makes_all_kinds_of_packets():
    """Valid packets have a correct length; broken ones do not always. Every kind of packet occurs."""
    maker = grammar.Grammar(3)
    for version in packets.VERSIONS:
        for _each in range(500):
            data = maker.sound(version)
            size, start = packets.read_length(data, 1)
            assert len(data) == start + size
    broken = [maker.broken(version) for version in packets.VERSIONS for _each in range(1000)]
    assert {data[0] >> 4 for data in broken if data} == set(range(16))
    assert len(set(broken)) > 1500


RECORDS = [
    {"kind": "memory", "time": 9.0, "peaks": {"a": 1000, "b": 24}, "cpu": 5.0},
    {"kind": "sent", "time": 11.0, "events": [[1, 9.9], [2, 10.0], [3, 11.0], [4, 12.0]]},
    {"kind": "got", "time": 11.5, "who": "tcp", "numbers": [1, 2, 3], "delays": [0.5, 0.1, 0.1]},
    {"kind": "got", "time": 11.5, "who": "ws", "numbers": [2], "delays": [0.25]},
    {"kind": "got", "time": 30.0, "who": "ws", "numbers": [9], "delays": [9.0]},
    {"kind": "memory", "time": 10.5, "peaks": {"a": 1500, "b": 24}, "cpu": 6.0},
    {"kind": "memory", "time": 11.0, "peaks": {"a": 2000, "b": 48}, "cpu": 6.5},
    {"kind": "memory", "time": 11.5, "peaks": {"a": 1500, "b": 24}, "cpu": 0.25},
    {"kind": "newcomer", "time": 14.0, "begun": 10.5, "transport": "tcp", "seconds": 3.5},
    {"kind": "newcomer", "time": 11.0, "begun": 10.6, "transport": "tcp", "seconds": 0.4},
    {"kind": "newcomer", "time": 11.0, "begun": 10.7, "transport": "ws", "seconds": None},
    {"kind": "newcomer", "time": 12.5, "begun": 12.1, "transport": "ws", "seconds": 0.4},
    {"kind": "foreign", "time": 11.0, "who": "tcp", "topic": "t", "payload": "p"},
    {"kind": "foreign", "time": 11.1, "who": "ws", "topic": "t", "payload": "p"},
    {"kind": "publisher lost", "time": 11.2},
    {"kind": "restarted", "time": 11.3, "service": "a"},
    {"kind": "restarted", "time": 12.3, "service": "a"},
]


def row(forbidden=True, records=None, through=0):
    outcome = {"tried": 5, "through": through, "traffic": {"sent": 2048, "got": 5000}}
    return scoring.make_row(
        "attack", forbidden, outcome, RECORDS if records is None else records, ["tcp", "ws"], 10.0, 12.0
    )


def test_a_row_covers_only_its_own_time():
    found = row()
    assert (found.sent, found.received, found.missed, found.slowest) == (2, {"tcp": 2, "ws": 1}, {"ws": 1}, 0.5)
    assert found.newcomers == {"tcp": scoring.Served(2, 1), "ws": scoring.Served(1, 0)}
    assert (found.memory_before, found.memory_peak, found.restarts, found.publisher_lost) == (1024, 2048, 1, 1)
    # A restarted service begins at 0.
    assert (found.p99, found.cpu, found.kib_sent, found.kib_got) == (0.5, 0.5, 2, 4)


def test_costs_that_one_address_causes():
    found = row()
    assert scoring.cost_failures(found, quiet=0.25, strict=True) == []
    assert scoring.cost_failures(found, quiet=0.01, strict=True) == ["1 of 100 events takes longer than 0.500 s"]
    assert scoring.cost_failures(found, quiet=0.01, strict=False) == []
    grown = dataclasses.replace(found, memory_peak=found.memory_before + 65 * 1024)
    assert scoring.cost_failures(grown, quiet=1, strict=False) == ["65 MiB more memory"]


def test_successes_of_an_attack_are_counted_once():
    """One message that two readers received, and the disconnected publisher, which counts only for forbidden attacks."""
    assert row().through == 2
    assert row(forbidden=False, through=7).through == 8


def test_each_failure_is_reported():
    late = [{"kind": "newcomer", "begun": 11.0, "transport": transport, "seconds": None} for transport in ("tcp", "ws")]
    assert scoring.failures(row(records=RECORDS + late), most_memory=1, strict=True) == [
        "2 got through",
        "ws missed 1 of 2 events",
        "the publisher was cut off 1 times",
        "1 restarts",
        "2 MiB are more than 1",
        "tcp: newcomers served 1/3",
        "ws: newcomers served 0/2",
    ]
    quiet = [record for record in RECORDS if record["kind"] in ("sent", "memory")]
    both = [{"kind": "got", "time": 11.5, "who": who, "numbers": [2, 3], "delays": [0.1, 0.1]} for who in ("tcp", "ws")]
    assert scoring.failures(row(records=quiet + both), most_memory=2, strict=True) == []
    assert scoring.failures(row(records=both), most_memory=2, strict=True) == ["the publisher sent nothing"]


@pytest.mark.parametrize(
    ("served", "tries", "enough"), [(95, 100, True), (94, 100, False), (0, 0, True), (19, 20, True), (18, 19, False)]
)
def test_enough_newcomers(served, tries, enough):
    assert scoring.Served(tries, served).enough is enough


@pytest.mark.parametrize(("served", "tries", "almost"), [(9, 10, True), (8, 10, False), (0, 0, True), (38, 40, True)])
def test_almost_all_newcomers(served, tries, almost):
    assert scoring.Served(tries, served).almost_all is almost


def test_the_table_has_a_line_for_each_attack():
    lines = scoring.table([row(), row(forbidden=False)]).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith(
        "| attack | 5 | 2 | 2 | 2 | 1 | 0.50 | 0.500 | 2 | 4 | 0.5 | 1/2 | 0/1 | 1 | 1.0 | 2.0 | 1 |"
    )


def test_a_target_is_read_from_the_scenarios_variable():
    """An edge host has no accounts of its own, and the watcher can be anonymous."""
    nobody = {"host": "127.0.0.1", "port": 21001, "username": None, "password": None, "client_id": "c"}
    data = {"listeners": [{"port": 1883, "transport": "tcp"}, {"port": 80, "transport": "websockets"}]}
    data |= {"account_listeners": [], "publisher": nobody, "watcher": nobody, "most_memory": 1, "insiders": {}}
    data |= {key: ["x"] for key in ("watched", "names", "client_ids", "services")}
    found = target.make_target(data, "192.0.2.1")
    assert [str(listener) for listener in found.doors] == ["tcp 1883", "websockets 80"]
    assert found.of("websockets") == [target.Listener("192.0.2.1", 80, "websockets")]
    assert found.watcher == target.Login(target.Listener("127.0.0.1", 21001), None, None, "c")
