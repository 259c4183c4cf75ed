# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners with TLS: from files on the host, from texts in variables, and with renewed certificates."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib
import ssl
import typing as t

import pytest
from firehose_testing.brokers import TCP, WEBSOCKETS, WITHOUT_LIMITS, Broker, Brokers, Role
from firehose_testing.clients import Way
from firehose_testing.sessions import Session, delivered
from firehose_testing.tls import spoken

FOLDER = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
TCP_TLS, WEBSOCKETS_TLS = (Way(way.transport, way.version, tls=True) for way in (TCP, WEBSOCKETS))
BY_PATH, BY_TEXT = {8883: TCP_TLS, 443: WEBSOCKETS_TLS}, {8884: TCP_TLS}
SERVICE = "Start, reload or restart the brokers"


def der(broker: Broker, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((FOLDER / f"{broker.name}-{name}.pem").read_text(encoding="utf-8"))


def shown(broker: Broker, ports: t.Iterable[int]) -> set[bytes]:
    """The certificates that the listeners serve on some ports."""
    return {certificate for port in ports for certificate in spoken(broker.address, port)[1]}


@pytest.mark.parametrize(("port", "way"), (BY_PATH | BY_TEXT).items(), ids=str)
def test_messages_are_delivered_over_tls(broker: Broker, port: int, way: Way) -> None:
    with broker.session("both/#", port=port, way=way) as receiver, broker.session(port=port, way=way) as sender:
        assert delivered(sender, receiver, ["both/a", "in/a"]) == {"both/a"}


@pytest.mark.parametrize(
    ("port", "versions"), [(8883, {"1.2", "1.3"}), (443, {"1.2", "1.3"}), (8884, {"1.3"})], ids=str
)
def test_no_tls_version_below_the_minimum_is_accepted(broker: Broker, port: int, versions: set[str]) -> None:
    assert spoken(broker.address, port) == (versions, {der(broker, "good")})


def test_only_root_can_read_the_files_of_texts(broker: Broker) -> None:
    found = broker.host.check_output("stat --format '%n %a %U %G' /etc/mosquitto/tls/8884 /etc/mosquitto/tls/8884/*")
    assert found.splitlines() == [
        "/etc/mosquitto/tls/8884 700 root root",
        "/etc/mosquitto/tls/8884/certificate.pem 600 root root",
        "/etc/mosquitto/tls/8884/key.pem 600 root root",
    ]


def processes(brokers: Brokers) -> dict[str, str]:
    return brokers.each(lambda broker: broker.show("MainPID"))


@contextlib.contextmanager
def connected(brokers: Brokers, ports: t.Mapping[int, Way]) -> t.Iterator[t.Callable[[], dict[str, bool]]]:
    """Connect clients at some ports of all brokers. Yields a function that tells for which brokers all clients are still connected."""
    with contextlib.ExitStack() as stack:
        sessions: dict[str, list[Session]] = {
            name: [stack.enter_context(broker.session(port=port, way=way)) for port, way in ports.items()]
            for name, broker in brokers.items()
        }
        yield lambda: {name: all(session.ended is None for session in own) for name, own in sessions.items()}


@pytest.fixture
def put_back(brokers: Brokers, role: Role) -> t.Iterator[None]:
    role.ensure()
    brokers.each(lambda broker: broker.host.check_output("rm -rf /srv/kept && cp -a /srv/certificates /srv/kept"))
    yield
    back = "cp -a /srv/kept/. /srv/certificates && touch /srv/certificates/* && mosquitto-apply"
    brokers.each(lambda broker: broker.host.check_output(back))


@pytest.mark.usefixtures("put_back")
def test_a_renewed_text_is_reloaded_and_not_in_the_output(brokers: Brokers, role: Role) -> None:
    role.ensure(mosquitto_listeners=WITHOUT_LIMITS)
    before = processes(brokers)
    listeners = copy.deepcopy(WITHOUT_LIMITS)
    [tls] = [listener["tls"] for listener in listeners if listener.get("port") in BY_TEXT]
    tls |= {key: tls[key].replace("-good", "-renewed") for key in ("certificate_pem", "key_pem")}
    with connected(brokers, BY_PATH | BY_TEXT) as are_connected:
        run = role.run(mosquitto_listeners=listeners)
        assert run.worked, run.failures
        assert run.changed == brokers.all(["Write the units, mosquitto.conf, certificates and keys", SERVICE])
        assert are_connected() == brokers.all(True)
    assert processes(brokers) == before
    for broker in brokers.values():
        assert shown(broker, BY_TEXT) == {der(broker, "renewed")}
        [_begin, body, *_rest] = (FOLDER / f"{broker.name}-renewed-key.pem").read_text(encoding="utf-8").splitlines()
        assert body in broker.host.file("/etc/mosquitto/tls/8884/key.pem").content_string
        assert body not in run.output + run.messages


@pytest.mark.usefixtures("put_back")
def test_a_renewed_file_takes_effect(brokers: Brokers, role: Role) -> None:
    """No restart is needed if the broker supports that."""
    before = processes(brokers)
    copies = "cd /srv/certificates && cp renewed.pem good.pem && cp renewed-key.pem good-key.pem"
    brokers.each(lambda broker: broker.host.check_output(copies))
    with connected(brokers, BY_PATH) as are_connected:
        run = role.run()
        assert run.worked, run.failures
        assert run.changed == brokers.all([SERVICE])
        stay = {name: broker.version >= (2, 1) for name, broker in brokers.items()}
        assert are_connected() == stay
    after = processes(brokers)
    assert {name: before[name] == after[name] for name in brokers} == stay
    for broker in brokers.values():
        assert shown(broker, BY_PATH) == {der(broker, "renewed")}
