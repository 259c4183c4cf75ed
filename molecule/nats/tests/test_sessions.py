# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that clients leave behind are forgotten where the variables say so."""

from __future__ import annotations

import time
import typing as t
import uuid

from firehose_testing.clients import ANONYMOUS, Way, paho_client
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.nats import SESSIONS, TCP, run_role, streams
from firehose_testing.waiting import wait_until

# As the cluster's variables have it, in seconds.
EXPIRATION = 5


def leave_behind(server: Firehose, way: Way) -> None:
    """A session of a client that says it will come again."""
    client = paho_client(ANONYMOUS, way, f"test-{uuid.uuid4()}", clean=False)
    connected: list[t.Any] = []
    client.on_connect = lambda *args: connected.append(args[3])
    client.connect(server.address, way.port)
    client.loop_start()
    wait_until(lambda: bool(connected), "the client was connected")
    assert not connected[0].is_failure
    client.disconnect()
    client.loop_stop()


def kept(server: Firehose) -> int:
    """How many sessions the server keeps."""
    return streams(server)[SESSIONS]["state"]["messages"]


def test_a_session_is_forgotten(cluster: Firehoses) -> None:
    def all_keep(number: int) -> bool:
        return all(kept(server) == number for server in cluster.values())

    wait_until(lambda: all_keep(0), "there was none")
    begun = time.monotonic()
    for server in cluster.values():
        leave_behind(server, TCP)
    wait_until(lambda: all_keep(3), "all servers knew of them", EXPIRATION)
    wait_until(lambda: all_keep(0), "they were forgotten", 2 * EXPIRATION)
    # However slow the tests are
    assert time.monotonic() - begun >= EXPIRATION


def test_the_rest_of_the_stream_is_as_the_server_makes_it(cluster: Firehoses, alone: Firehose) -> None:
    leave_behind(alone, Way("tcp", "3.1.1", tls=True))
    own = streams(alone)[SESSIONS]["config"]
    for server in cluster.values():
        found = streams(server)[SESSIONS]["config"]
        assert (found["max_age"], found["max_msgs"]) == (EXPIRATION * 10**9, 100_000)
        # A quarter of what the account may store, of which each of three servers has one
        assert found["max_bytes"] == 128 * 2**20 // 4 // 3
        assert (found["num_replicas"], own["num_replicas"]) == (3, 1)
        for key in ("max_age", "max_msgs", "max_bytes", "num_replicas", "duplicate_window", "metadata"):
            found.pop(key, None)
        # A newer server knows more settings.
        assert found.items() <= {**dict.fromkeys(found, False), **own}.items()


def test_a_server_that_kept_them_for_ever(alone: Firehose) -> None:
    leave_behind(alone, Way("websockets", "3.1.1", tls=True))
    before = kept(alone)
    assert before > 0
    time.sleep(EXPIRATION + 2)
    assert kept(alone) == before
    run = run_role("alone", expiration=f"{EXPIRATION}s")
    assert run.returncode == 0, run.stdout
    wait_until(lambda: kept(alone) == 0, "they were forgotten")
    # And back: nobody tries any more to say how long they are kept.
    run = run_role("alone")
    assert run.returncode == 0, run.stdout
    assert alone.host.run("systemctl is-active nats-sessions").stdout.strip() == "inactive"
    assert "Authorization Violation" not in alone.host.check_output("journalctl --no-pager --unit nats-server")
    # The stream keeps its age, which the next run of this test would find.
    alone.host.check_output("systemctl stop nats-server; rm -r /var/lib/nats/jetstream; systemctl start nats-server")
