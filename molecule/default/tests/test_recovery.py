# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The feed recovers from failures."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from firehose_testing.clients import PahoSubscriber, Way
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.germqtt import Germqtt
from firehose_testing.gerrit import Gerrit
from firehose_testing.public import HAPROXY, PUBLIC_BROKERS
from firehose_testing.undoing import undone
from firehose_testing.waiting import wait_until

TCP = Way("tcp", "5")
LISTEN = """
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", int(sys.argv[1])))
listener.listen()
"""


# A service with the user and the capability of a public broker
IMPOSTOR = (
    "systemd-run --quiet --unit=impostor-%s --property=User=mosquitto-1 --property=AmbientCapabilities=CAP_NET_BIND_SERVICE"
    " python3 -c %s %s"
)


@contextlib.contextmanager
def listening(firehoses: Firehoses) -> t.Iterator[list[PahoSubscriber]]:
    """Subscribe at all hosts."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(PahoSubscriber(firehose.address, TCP)) for firehose in firehoses.values()]


@pytest.fixture(autouse=True)
def events_flow(firehoses: Firehoses, gerrit: Gerrit) -> None:
    """Start in a state where everything works."""
    with listening(firehoses) as subscribers:
        gerrit.wait_until_heard(subscribers)


@pytest.mark.parametrize("units", ["mosquitto.service", PUBLIC_BROKERS, f"{HAPROXY}.service", f"{HAPROXY}.socket"])
def test_the_feed_recovers_from_a_service_restart(firehoses: Firehoses, gerrit: Gerrit, units: str) -> None:
    firehoses.each(lambda firehose: firehose.host.check_output("systemctl restart %s", units))
    with listening(firehoses) as subscribers:
        gerrit.wait_until_heard(subscribers)


def test_clients_wait_while_haproxy_is_down(firehoses: Firehoses) -> None:
    """No local user can bind its ports. The first client waits until HAProxy has started again."""

    def away(firehose: Firehose) -> None:
        firehose.host.check_output("systemctl stop %s.service", HAPROXY)
        taken = {
            port: firehose.host.run(f"runuser --user nobody -- python3 -c %s {port}", LISTEN) for port in (1883, 1999)
        }
        assert "Address already in use" in taken[1883].stderr
        assert taken[1999].succeeded, taken[1999].stderr
        assert firehose.host.run("systemctl is-active %s.service", HAPROXY).stdout.strip() == "inactive"
        with PahoSubscriber(firehose.address, TCP):
            pass

    firehoses.each(away)


def test_the_ports_of_a_stopped_accounts_broker_cannot_be_hijacked(firehoses: Firehoses) -> None:
    """A compromised public broker can bind its ports, but accepts no connection there, and so receives no password."""

    def away(firehose: Firehose) -> None:
        host = firehose.host
        connected = {}
        host.check_output("systemctl stop mosquitto")
        for port in (800, 801, 803):
            host.check_output(IMPOSTOR, str(port), LISTEN + "import time; time.sleep(60)", str(port))
            wait_until(lambda port=port: f":{port} " in host.check_output("ss -Htln"), f"port {port} is open", 10)
            connected[port] = host.run(f"timeout 2 bash -c ': </dev/tcp/127.0.0.1/{port}'").succeeded
            host.check_output(f"systemctl stop impostor-{port}")
        host.check_output("systemctl start mosquitto")
        # The last one belongs to no broker.
        assert connected == {800: False, 801: False, 803: True}

    firehoses.each(away)


def test_an_event_is_published_after_the_broker_was_down(firehoses: Firehoses, gerrit: Gerrit) -> None:
    """The event is published afterwards."""

    def stored() -> dict[str, int]:
        return firehoses.each(lambda firehose: Germqtt(firehose).counts()["stored"])

    def statuses() -> str:
        return str(firehoses.each(lambda firehose: Germqtt(firehose).status()))

    with contextlib.ExitStack() as away:
        for firehose in firehoses.values():
            away.enter_context(undone(firehose.host, "systemctl stop mosquitto", "systemctl start mosquitto"))
        before = stored()
        missed = gerrit.mark()
        wait_until(
            lambda: all(number > before[name] for name, number in stored().items()),
            "all hosts have stored the event",
            60,
            statuses,
        )
        # germqtt must not publish before the subscribers are connected.
        firehoses.each(lambda firehose: firehose.host.check_output("systemctl kill --signal STOP germqtt"))
    with listening(firehoses) as subscribers:
        firehoses.each(lambda firehose: firehose.host.check_output("systemctl kill --signal CONT germqtt"))
        for subscriber in subscribers:
            subscriber.wait_for(topic=missed)


def test_systemd_restarts_a_hanging_germqtt(firehoses: Firehoses, gerrit: Gerrit) -> None:
    """systemd ends it, since the watchdog gets no more notifications."""

    def process(firehose: Firehose) -> str:
        return firehose.host.check_output("systemctl show --property MainPID --value germqtt")

    before = firehoses.each(process)
    firehoses.each(lambda firehose: firehose.host.check_output("systemctl kill --signal STOP germqtt"))
    wait_until(lambda: not before.items() & firehoses.each(process).items(), "germqtt is another process", 100)
    with listening(firehoses) as subscribers:
        gerrit.wait_until_heard(subscribers)


def test_the_feed_recovers_after_gerrit_ends_the_stream(firehoses: Firehoses, gerrit: Gerrit) -> None:
    gerrit.drop_streams()
    with listening(firehoses) as subscribers:
        gerrit.wait_until_heard(subscribers)


def test_a_host_with_another_ssh_host_key_is_rejected(firehoses: Firehoses, gerrit: Gerrit) -> None:
    with listening(firehoses) as subscribers:
        with gerrit.another_host_key():
            gerrit.drop_streams()
            wait_until(
                lambda: gerrit.refused_by() >= {f.address for f in firehoses.values()}, "all hosts turned away", 60
            )
            forged = gerrit.mark()
        gerrit.wait_until_heard(subscribers)
        assert [str(s) for s in subscribers if any(message.topic == forged for message in s.messages)] == []
