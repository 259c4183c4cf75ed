# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits of each address stay in force, and do not affect other nftables tables."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest
import testinfra
import testinfra.host
from firehose_testing.clients import WAYS, Account, PahoSubscriber
from firehose_testing.fixtures import evaluated, only_host, reached
from firehose_testing.hostile import packets
from firehose_testing.hostile.plugin import LONG, RELEASES
from firehose_testing.runs import run_playbook
from firehose_testing.waiting import wait_until

TABLE = "inet firehose_limits"


@pytest.fixture
def host() -> testinfra.host.Host:
    return testinfra.get_host(f"docker://{only_host('firehose')}")


def run(**variables: object) -> list[str]:
    """The tasks of a run of the playbook that changed the core host."""
    name = only_host("firehose")
    return run_playbook("--limit", name, "--extra-vars", json.dumps(variables)).changed[name]


def tables(host: testinfra.host.Host) -> set[str]:
    return {line.removeprefix("table ") for line in host.check_output("nft list tables").splitlines()}


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_the_limits_survive_a_restart_of_debians_nftables(host: testinfra.host.Host, verb: str) -> None:
    """A reload or restart removes all tables, and loads those of its own configuration."""
    host.check_output("systemctl start nftables && systemctl start firehose-limits && nft add table inet others")
    host.check_output("systemctl %s nftables", verb)
    assert "inet others" not in tables(host)
    wait_until(lambda: TABLE in tables(host), "the limits are back")
    assert host.service("firehose-limits").is_running


def test_the_limits_are_enabled_at_boot(host: testinfra.host.Host) -> None:
    assert host.service("firehose-limits").is_enabled


def test_the_limits_affect_no_other_table(host: testinfra.host.Host) -> None:
    host.check_output("nft add table inet others")
    try:
        for verb in ("reload", "restart"):
            host.check_output("systemctl %s firehose-limits", verb)
            assert {"inet others", TABLE} <= tables(host)
        host.check_output("systemctl stop firehose-limits")
        assert "inet others" in tables(host)
        assert TABLE not in tables(host)
    finally:
        host.check_output("nft delete table inet others; systemctl start firehose-limits")


def subscriptions(host: testinfra.host.Host) -> list[str]:
    """The number of topic filters that HAProxy has counted for each address."""
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/firehose-haproxy/master.sock');"
        " s.sendall(b'@1 show table firehose/sources data.gpc0 gt 0\\n'); s.shutdown(1);"
        " print(b''.join(iter(lambda: s.recv(4096), b'')).decode())"
    )
    # The socket is refused for a moment while HAProxy reloads.
    return sorted(re.findall(r"key=(\S+) .* gpc0=(\d+)", host.run("python3 -c %s", ask).stdout))


@pytest.mark.skipif(RELEASES["core"] == "12", reason="HAProxy 2.6 does not tell the process after it")
def test_a_reload_of_haproxy_keeps_the_counts_of_addresses(host: testinfra.host.Host) -> None:
    address = reached(only_host("firehose"))[2]
    with PahoSubscriber(address, WAYS[0], ["a", "b", "c"]):
        before = subscriptions(host)
    assert before
    host.check_output("systemctl reload firehose-haproxy")
    wait_until(lambda: subscriptions(host) == before, "the new process knows them")


def test_no_session_of_an_anonymous_client_persists(host: testinfra.host.Host) -> None:
    """Even if a client of MQTT 5 asks for a session expiry or a will delay."""
    name = only_host("firehose")
    address, watcher = reached(name)[2], evaluated(name, "watcher")[name]["watcher"]
    account = Account(watcher["name"], watcher["password"])

    def disconnected() -> int:
        topic = "$SYS/broker/clients/disconnected"
        with PahoSubscriber(address, WAYS[0], [topic], account) as subscriber:
            subscriber.wait_for(topic=topic)
            return int(subscriber.messages[-1].payload)

    # After thousands of sessions, Mosquitto's count is wrong.
    host.check_output("systemctl restart mosquitto@1")
    wait_until(lambda: disconnected() == 0, "the broker has started anew", 60)
    before = disconnected()
    will = packets.Will("hostile/will", b"x", delay=3600)
    for number in range(8):
        with socket.create_connection((address, 1883), 10) as connection:
            hello = packets.connect(packets.V5, f"outlive-{number}", clean=False, expiry=3600, will=will)
            connection.sendall(hello + packets.subscribe(packets.V5, ["hostile/#"]))
            assert connection.recv(4)[:1] == bytes([packets.CONNACK << 4])
    # $SYS is 3 seconds old at most.
    time.sleep(7)
    assert disconnected() <= before


if LONG:  # it takes three runs of the playbook

    def test_the_limits_can_be_removed(host: testinfra.host.Host) -> None:
        changed = {task.rpartition(" : ")[2] for task in run(firehose_nftables=False)}
        assert {"Stop the limits", "Remove their unit"} <= changed
        assert TABLE not in tables(host)
        assert not host.file("/etc/systemd/system/firehose-limits.service").exists
        assert run(firehose_nftables=False) == []
        run()
        assert TABLE in tables(host)
