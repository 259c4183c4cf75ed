# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure of one edge host does not affect the subscribers of the others, and its own subscribers connect there."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import subprocess
import threading
import time
import typing as t
import uuid

import pytest
from firehose_testing.clients import ACCOUNT_TLS, QOS1, RETAINED, WAYS, Account, PahoSubscriber, publish
from firehose_testing.edges import ALL_WAYS, cut_off
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import current_sessions, open_ports, public_units
from firehose_testing.roaming import MOVE_TIMEOUT, Crowd, Roamer, gaps
from firehose_testing.runs import run_playbook
from firehose_testing.sessions import Session, count
from firehose_testing.undoing import undone
from firehose_testing.waiting import wait_until

LONG = os.environ.get("EDGE") == "long"
AWAY = 60 if LONG else 15
MANY = 3000
EDGES = 3
TOPIC = "ci/numbers"
SUBSCRIBERS = 300


# Removes everything that the role and the roles that it uses install on a host.
WIPE = """
systemctl stop firehose-haproxy.socket firehose-limits.service 'mosquitto@*.service' || true
apt-get purge --yes --autoremove haproxy mosquitto
rm --recursive --force /etc/firehose-haproxy /etc/mosquitto* /etc/systemd/system/firehose-* /etc/systemd/system/mosquitto* \\
  /var/lib/mosquitto* /usr/local/sbin/mosquitto-apply /usr/local/lib/*.py
systemctl daemon-reload
"""


@pytest.fixture(scope="module")
def published(core: Firehose, ci: Account) -> t.Iterator[t.Callable[[], list[str]]]:
    """Numbers that are published during the tests. Returns the numbers so far."""
    with (
        Session(core.address, ACCOUNT_TLS.port, ci, [], ACCOUNT_TLS, 60) as sender,
        count(sender, TOPIC, pause=0.1) as numbers,
    ):
        yield numbers


@pytest.fixture
def crowd(edges: Firehoses, published: t.Callable[[], list[str]]) -> t.Iterator[Crowd]:
    """Subscribers, the same number at each edge host."""
    with Crowd({edge.name: edge.address for edge in edges.values()}, TOPIC, SUBSCRIBERS) as found:
        found.wait_for(int(published()[-1]) + 1)
        yield found


def docker(*command: str) -> None:
    subprocess.run(["docker", *command], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def killed(edge: Firehose) -> t.Iterator[None]:
    docker("kill", edge.name)
    try:
        yield
    finally:
        docker("start", edge.name)


def stopped(edge: Firehose) -> t.ContextManager[None]:
    services = " ".join(["firehose-haproxy.socket", "firehose-haproxy.service", *public_units(edge.host)])
    return undone(edge.host, f"timeout 20 systemctl stop {services}", f"systemctl start {services}")


@contextlib.contextmanager
def replaced(edge: Firehose) -> t.Iterator[None]:
    """Remove everything that the role installed, and set the host up again."""
    edge.host.check_output(WIPE)
    try:
        yield
    finally:
        run_playbook("--limit", edge.name)


FAULTS = {"killed": killed, "cut off": cut_off, "stopped": stopped, "replaced": replaced}
# The index of the edge host for each failure in the short form.
SHORT = {"killed": 0, "cut off": 1, "stopped": 2, "replaced": 1}


def served(edge: Firehose) -> None:
    """Wait until new clients are served over every transport and version."""
    deadline = time.monotonic() + 60
    for way in ALL_WAYS:
        while True:
            try:
                with PahoSubscriber(edge.address, way):
                    break
            except (ConnectionError, OSError):
                assert time.monotonic() < deadline, f"{edge.name} does not serve {way}"
                time.sleep(0.2)


def assert_untouched(roamers: t.Sequence[Roamer]) -> None:
    assert [roamer.stays for roamer in roamers if len(roamer.stays) != 1] == []
    assert [gap for roamer in roamers for gap in gaps(roamer.stays[0])] == []


def cases() -> list[t.Any]:
    """The long form has each failure at each edge host."""
    return [
        pytest.param(place, fault, id=f"{fault}-{place}")
        for place in range(EDGES)
        for fault in FAULTS
        if LONG or place == SHORT[fault]
    ]


@pytest.mark.parametrize(("place", "fault"), cases())
def test_subscribers_of_other_edge_hosts_lose_no_event(
    crowd: Crowd, published: t.Callable[[], list[str]], edges: Firehoses, fault: str, place: int
) -> None:
    edge = [*edges.values()][place]
    hit = crowd.at(edge.name)
    assert len(hit) == SUBSCRIBERS // EDGES
    others = [roamer for roamer in crowd.roamers if roamer.host != edge.name]
    with FAULTS[fault](edge):
        wait_until(lambda: not {roamer.host for roamer in hit} & {None, edge.name}, "all are elsewhere", MOVE_TIMEOUT)
        crowd.wait_for(int(published()[-1]))
    served(edge)
    assert all(gaps(stay) == [] for roamer in hit for stay in roamer.stays)
    assert_untouched(others)


def test_an_edge_host_catches_up_after_losing_the_core_host(
    crowd: Crowd, published: t.Callable[[], list[str]], core: Firehose, edges: Firehoses
) -> None:
    addresses = ", ".join(edge.address for edge in edges.values())
    with cut_off(core, f"ip saddr {{ {addresses} }}"):
        time.sleep(2)  # for messages in flight
        assert_untouched(crowd.roamers)
        come = max(roamer.stays[-1].numbers[-1] for roamer in crowd.roamers)
        time.sleep(AWAY)
        last = int(published()[-1])
        assert last - come > AWAY * 5
        assert_untouched(crowd.roamers)
        # No event arrives, and new clients can connect.
        assert max(roamer.stays[-1].numbers[-1] for roamer in crowd.roamers) == come
        edges.each(served)
    wait_until(lambda: all(roamer.stays[-1].numbers[-1] > last for roamer in crowd.roamers), "all is there", 60)
    assert_untouched(crowd.roamers)


def test_an_edge_host_catches_up_on_more_events_than_a_queue_holds(
    core: Firehose, edges: Firehoses, ci: Account
) -> None:
    """Thousands of events that the core host queued reach every connected subscriber in order."""
    with contextlib.ExitStack() as stack:
        public = [
            stack.enter_context(PahoSubscriber(edge.address, way, ["ci/many"]))
            for edge in edges.values()
            for way in WAYS
        ]
        sender = stack.enter_context(Session(core.address, ACCOUNT_TLS.port, ci, [], ACCOUNT_TLS, 60))
        with contextlib.ExitStack() as away:
            for edge in edges.values():
                away.enter_context(cut_off(edge, f"ip saddr {core.address}"))
            for number in range(MANY):
                sender.publish("ci/many", str(number))
        for subscriber in public:
            subscriber.wait_for(payload=str(MANY - 1), timeout=120)
            got = [message.payload for message in subscriber.messages]
            assert [*dict.fromkeys(got)] == [str(number) for number in range(MANY)]


@contextlib.contextmanager
def clients_at_a_broker(edge: Firehose) -> t.Iterator[tuple[str, t.Callable[[], bool]]]:
    """Connect clients until a broker has one. Yields its unit, and a function that tells whether all its clients are disconnected.

    After a broker hung, it gets clients again only when a health check of HAProxy succeeds.
    """
    broker = public_units(edge.host)[0]
    labels = f'proxy="mqtt",server="{broker.replace("@", "-")}"'

    def at_broker() -> int:
        return current_sessions(edge.host, "server")[labels]

    with contextlib.ExitStack() as stack:
        there, before = [], at_broker()

        def has_one() -> bool:
            there.append(stack.enter_context(PahoSubscriber(edge.address, WAYS[0])))
            return at_broker() > before

        wait_until(has_one, f"{broker} has a client")
        count = at_broker() - before
        yield broker, lambda: sum(one.ended is not None for one in there) == count


def test_clients_of_a_hanging_broker_fail_over_to_another(edges: Firehoses) -> None:
    def hangs(edge: Firehose) -> None:
        with clients_at_a_broker(edge) as (broker, are_disconnected):
            edge.host.check_output("systemctl kill --signal STOP %s", broker)
            try:
                wait_until(are_disconnected, "those of one are sent away")
                served(edge)
            finally:
                edge.host.check_output("systemctl kill --signal CONT %s", broker)
        served(edge)

    edges.each(hangs)


def test_a_killed_broker_disconnects_only_its_own_clients(edges: Firehoses) -> None:
    """As at the memory limit. The signal is sent by the test, since containers have no memory controller."""

    def is_killed(edge: Firehose) -> float:
        with clients_at_a_broker(edge) as (broker, are_disconnected):
            edge.host.check_output("systemctl kill --signal KILL %s", broker)
            start = time.monotonic()
            served(edge)
            seconds = time.monotonic() - start
            wait_until(are_disconnected, "those of one are disconnected")
        assert "code=killed" in edge.host.check_output("journalctl --unit %s --since -1min", broker)
        return seconds

    assert max(edges.each(is_killed).values()) < 5


def test_new_clients_are_served_while_a_broker_restarts(edges: Firehoses) -> None:
    def restarts(edge: Firehose) -> list[list[str]]:
        """Restart each broker while new clients connect; return the errors of those that were rejected twice in a row."""
        over = threading.Event()
        failures: list[list[str]] = []

        def newcomers() -> int:
            number = 0
            refused: list[str] = []
            while not over.is_set():
                try:
                    with PahoSubscriber(edge.address, WAYS[number % len(WAYS)]):
                        number += 1
                        refused = []
                except (ConnectionError, OSError) as exc:
                    # A client that had just reached the broker is disconnected like its other clients. Its next try is served.
                    refused.append(str(exc))
                    if len(refused) > 1:
                        failures.append(list(refused))
            return number

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            coming = [pool.submit(newcomers) for _number in range(3)]
            for broker in public_units(edge.host) * 2:
                time.sleep(1)
                edge.host.check_output("systemctl restart %s", broker)
            time.sleep(1)
            over.set()
        assert sum(future.result() for future in coming) > 20
        return failures

    assert edges.each(restarts) == {name: [] for name in edges}


def test_clients_of_a_drained_edge_connect_elsewhere(
    crowd: Crowd, published: t.Callable[[], list[str]], edges: Firehoses
) -> None:
    _first, edge, _last = edges.values()
    hit = crowd.at(edge.name)
    others = [roamer for roamer in crowd.roamers if roamer.host != edge.name]
    drain = "--extra-vars", '{"firehose_edge_state": "drained", "firehose_edge_drain_time": 4}'
    run = run_playbook("--limit", edge.name, *drain)
    assert "Stop unmanaged brokers" in str(run.changed[edge.name])
    crowd.wait_for(int(published()[-1]))
    assert crowd.at(edge.name) == []
    assert open_ports(edge.host) == {}
    ends = sorted(roamer.stays[0].until or 0 for roamer in hit)
    assert ends[-1] - ends[0] > 1, "all at once"
    assert run_playbook("--limit", edge.name, *drain).changed.get(edge.name, []) == []
    run_playbook("--limit", edge.name)
    served(edge)
    assert all(gaps(stay) == [] for roamer in hit for stay in roamer.stays)
    assert_untouched(others)


def test_edge_hosts_are_updated_in_sequence(
    crowd: Crowd, published: t.Callable[[], list[str]], core: Firehose, edges: Firehoses, ci: Account
) -> None:
    """A topic that is no longer public is closed on edge hosts, including its retained message."""
    changed = Firehoses([*edges.items()][1:])
    limit = "--limit", ",".join([core.name, *changed])
    topic, payload = f"secret/{uuid.uuid4()}", str(uuid.uuid4())

    def retained() -> set[str]:
        """The edge hosts where the retained message is found."""
        found = set()
        for name, edge in changed.items():
            with PahoSubscriber(edge.address, WAYS[0], [topic, "fence/#"]) as subscriber:
                publish(core.address, ci, ACCOUNT_TLS, QOS1, {"fence/it": "x"})
                subscriber.wait_for(topic="fence/it")
                if payload in [message.payload for message in subscriber.messages]:
                    found.add(name)
        return found

    publish(core.address, ci, ACCOUNT_TLS, RETAINED, {topic: payload})
    assert retained() == {*changed}
    less = "--extra-vars", '{"firehose_public_topics": ["ci/#", "fence/#", "gerrit/#"]}'
    try:
        run_playbook(*limit, *less)
        crowd.wait_for(int(published()[-1]))
        assert retained() == set()
        assert all(gaps(stay) == [] for roamer in crowd.roamers for stay in roamer.stays)
    finally:
        run_playbook(*limit, "--extra-vars", '{"firehose_edges_at_a_time": 2}')
        # Deleted only now, so that the edge host that was left out gets the deletion too.
        publish(core.address, ci, ACCOUNT_TLS, RETAINED, {topic: ""})
