# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker's stored data survives restarts, crashes, damaged files and a change of the persistence method."""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
import time
import typing as t
import uuid

import paho.mqtt.client as paho
import pytest
from firehose_testing.brokers import ACCOUNTS, Broker, Brokers, Role
from firehose_testing.clients import TIMEOUT, Way, paho_client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

FIVE = Way("tcp", "5")
STORE = "/var/lib/mosquitto"
UNIT = "/etc/systemd/system/mosquitto.service"
DROP_IN = f"{UNIT}.d/goes-back.conf"
# Mosquitto 2.0 saves once a second at most, and adds one second.
WINDOW = 2.5
SAFEST = {"mosquitto_persistence_method": "auto", "mosquitto_autosave_interval": 1}

Got = tuple[str, bytes, int, bool, str]


def has_plugin(broker: Broker) -> bool:
    return broker.version >= (2, 1)


@contextlib.contextmanager
def client(broker: Broker, client_id: str, *, lasting: bool) -> t.Iterator[tuple[paho.Client, list[Got]]]:
    """Connect with MQTT 5, in a persistent session or not. Yields the client, and its received messages so far."""
    found, connected, got = paho_client(ACCOUNTS["admin"], FIVE, client_id), threading.Event(), []
    found.on_connect = lambda *_arguments: connected.set()
    found.on_message = lambda _client, _data, it: got.append(
        (it.topic, it.payload, it.qos, it.retain, json.dumps(it.properties.json(), sort_keys=True))
    )
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600 if lasting else 0
    found.connect(broker.address, 1883, clean_start=not lasting, properties=properties)
    found.loop_start()
    try:
        assert connected.wait(TIMEOUT)
        yield found, got
    finally:
        found.disconnect()
        found.loop_stop()


def make_session(broker: Broker, client_id: str, topic: str) -> None:
    """Subscribe with an identifier, and disconnect."""
    done = threading.Event()
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = 7
    with client(broker, client_id, lasting=True) as (subscriber, _got):
        subscriber.on_subscribe = lambda *_arguments: done.set()
        subscriber.subscribe(topic, 2, properties=properties)
        assert done.wait(TIMEOUT)


def publish(broker: Broker, topic: str, payloads: t.Iterable[bytes], retain: bool = False, **properties: t.Any) -> None:
    """Publish at QoS 1. A final message is acknowledged after all others, so the broker has finished the loop that received them."""
    found = Properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        setattr(found, name, value)
    with client(broker, "", lasting=False) as (publisher, _got):
        for payload in payloads:
            publisher.publish(topic, payload, 1, retain, properties=found).wait_for_publish(TIMEOUT)
        publisher.publish("own/admin/end", b"", 1).wait_for_publish(TIMEOUT)


def received(broker: Broker, client_id: str, count: int) -> list[Got]:
    """The messages that a resumed session receives: up to a number, and any that follow at once."""
    with client(broker, client_id, lasting=True) as (_subscriber, got):
        deadline = time.monotonic() + 5
        while len(got) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        return [*got]


def crash(broker: Broker) -> None:
    """Kill the broker, and wait until systemd has restarted it."""
    before = broker.show("MainPID")
    broker.host.check_output("systemctl kill --signal KILL mosquitto")
    deadline = time.monotonic() + TIMEOUT
    while broker.show("MainPID") in ("0", before) or broker.show("ActiveState") != "active":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lost_in_a_crash(broker: Broker, pause: float = 0) -> int:
    """The number of 100 acknowledged messages in a new session's queue that a crash loses. No message arrives twice."""
    client_id, topic = f"absent-{uuid.uuid4()}", f"both/{uuid.uuid4()}"
    sent = [b"%d" % number for number in range(100)]
    make_session(broker, client_id, topic)
    publish(broker, topic, sent)
    time.sleep(pause)
    crash(broker)
    got = [payload for _topic, payload, *_others in received(broker, client_id, len(sent))]
    assert got == [payload for payload in sent if payload in got]
    return len(sent) - len(got)


def test_a_retained_message_survives_a_restart(broker: Broker) -> None:
    retained, gone = str(uuid.uuid4()), str(uuid.uuid4())
    with broker.session() as sender:
        sender.publish("both/kept", retained, retain=True)
        sender.publish("both/gone", gone)
    before = broker.show("MainPID")
    broker.host.check_output("systemctl restart mosquitto")
    assert broker.show("MainPID") != before
    with broker.session("both/#") as receiver:
        receiver.wait_for(payload=retained)
        receiver.fence()
        assert [(m.topic, m.retain) for m in receiver.messages if m.payload == retained] == [("both/kept", True)]
        assert receiver.got(gone) == set()


def test_saves_on_changes_lose_nothing_in_a_crash(brokers: Brokers, role: Role) -> None:
    """This holds from the creation of a session on."""
    role.ensure()
    assert brokers.each(lost_in_a_crash) == brokers.all(0)


@pytest.fixture(scope="module")
def messages() -> dict[str, dict[str, t.Any]]:
    """By topic: payloads and properties that a conversion could corrupt."""
    return {
        "kept/binary": {"payload": bytes(range(256)), "retain": True},
        "kept/empty": {"payload": b""},
        "kept/properties": {
            "payload": b"x",
            "retain": True,
            "ContentType": "text/pl\u00e4in",
            "CorrelationData": b"\0\1\xff",
            "ResponseTopic": "kept/answer",
            "PayloadFormatIndicator": 1,
            "UserProperty": [("a", "1"), ("a", "2"), ('"\\', "\U0001f600")],
        },
    }


def fill(broker: Broker, client_ids: t.Iterable[str], messages: dict[str, dict[str, t.Any]]) -> None:
    """Queue messages for sessions."""
    for client_id in client_ids:
        make_session(broker, client_id, "kept/#")
    for topic, message in messages.items():
        others = {name: value for name, value in message.items() if name != "payload"}
        publish(broker, topic, [message["payload"]], **others)


def test_a_change_of_the_persistence_method_converts_the_store(
    brokers: Brokers, role: Role, messages: dict[str, dict[str, t.Any]]
) -> None:
    """Byte for byte. A run that fails after the change rolls back, and keeps messages that arrived in between."""
    role.ensure()
    names = {name: broker for name, broker in brokers.items() if has_plugin(broker)}
    assert names
    reference, converted = (f"{uuid.uuid4()}" for _session in range(2))
    for broker in names.values():
        fill(broker, [reference, converted], messages)
    before = {name: received(broker, reference, len(messages)) for name, broker in names.items()}
    assert all({topic for topic, *_others in got} == {*messages} for got in before.values())
    login = f"--username admin --pw {shlex.quote(str(ACCOUNTS['admin'].password))}"
    publishing = f"mosquitto_pub {login} --qos 1 --topic kept/meanwhile --message meanwhile"
    text = f"[Service]\nExecStartPost=/bin/sh -c 'if grep -q sqlite /etc/mosquitto/live/mosquitto.conf; then {publishing}; exit 1; fi'\n"
    for broker in names.values():
        broker.host.check_output("mkdir --parents %s && printf '%%s' %s >%s", DROP_IN.rpartition("/")[0], text, DROP_IN)
    run = role.run(pattern=",".join(names), **SAFEST)
    for broker in names.values():
        broker.host.check_output("rm %s && systemctl daemon-reload", DROP_IN)
    assert run.failed_hosts == set(names)
    assert all("It serves with its previous configuration again." in failures[-1] for failures in run.failures.values())
    role.ensure(**SAFEST)
    for name, broker in names.items():
        assert broker.host.run("ls %s", f"{STORE}/mosquitto.sqlite3").rc == 0
        assert not broker.host.file(f"{STORE}/mosquitto.db").exists
        count = len(before[name])
        got = received(broker, converted, count + 1)
        assert got[:count] == before[name]
        assert [it[1] for it in got[count:]] == [b"meanwhile"]
        later = str(uuid.uuid4())
        make_session(broker, later, "kept/#")
        retained = {topic: it["payload"] for topic, it in messages.items() if it.get("retain")}
        assert {it[0]: it[1] for it in received(broker, later, len(retained)) if it[3]} == retained


def test_the_safest_method_loses_no_more_than_documented(brokers: Brokers, role: Role) -> None:
    role.ensure(**SAFEST)

    def lost(broker: Broker) -> int:
        return lost_in_a_crash(broker, 0 if has_plugin(broker) else WINDOW)

    assert brokers.each(lost) == brokers.all(0)


def stored(broker: Broker) -> str:
    return f"{STORE}/mosquitto.{'sqlite3' if has_plugin(broker) else 'db'}"


def starts_without(broker: Broker, damage: str) -> tuple[bool, bool, bool]:
    """Damage the store while the broker is stopped. Returns whether it starts, its log reports the damage, and mosquitto-apply does."""
    path = stored(broker)
    broker.host.check_output(f"systemctl stop mosquitto && {damage}", path)
    since = broker.host.check_output("date +%s")
    broker.host.check_output("systemctl start mosquitto")
    name = broker.host.check_output("ls %s | grep '[.]damaged-[0-9TZ]*$'", STORE)
    log = broker.host.check_output("journalctl --unit mosquitto --priority warning --since @%s", since)
    said = broker.host.check_output("mosquitto-apply --check")
    served = broker.lets_in("admin")
    broker.host.check_output("rm %s/*.damaged-*", STORE)
    return served, f"It is now {name}." in log, f"{STORE}/{name} was damaged" in said


@pytest.mark.parametrize("damage", [": >%s", "truncate --size=-100 %s", "head -c 9999 /dev/urandom >%s"])
def test_a_damaged_file_is_set_aside(brokers: Brokers, role: Role, damage: str) -> None:
    role.ensure(**SAFEST)
    brokers.each(lambda broker: publish(broker, "both/kept", [b"kept"], retain=True))
    assert brokers.each(lambda broker: starts_without(broker, damage)) == brokers.all((True, True, True))


def stays(broker: Broker, change: str, back: str) -> tuple[bool, bool, bool]:
    """Whether the broker refuses to start with an intact file, leaves the file unchanged, and has its messages afterwards."""
    path = stored(broker)
    broker.host.check_output("systemctl stop mosquitto")
    broker.host.check_output(change, path)
    before = broker.host.check_output("sha256sum %s", path)
    refused = broker.host.run("systemctl start mosquitto").rc != 0
    broker.host.check_output("systemctl stop mosquitto")
    same = broker.host.check_output("sha256sum %s", path) == before
    broker.host.check_output(back, path)
    broker.host.check_output("systemctl start mosquitto")
    with broker.session("both/#") as receiver:
        receiver.wait_for(payload="stays")
    return refused, same, broker.host.run("ls %s | grep damaged", STORE).rc != 0


NEWER = {
    True: "python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\"UPDATE version_info SET major = {}\"); c.commit()' %s",
    False: r"printf '\{}' | dd of=%s bs=1 seek=22 conv=notrunc status=none",
}


def test_an_intact_file_is_not_set_aside(brokers: Brokers, role: Role) -> None:
    """The file is of a newer version, or has other permissions."""
    role.ensure(**SAFEST)
    brokers.each(lambda broker: publish(broker, "both/stays", [b"stays"], retain=True))

    def newer(broker: Broker) -> tuple[bool, bool, bool]:
        command = NEWER[has_plugin(broker)]
        known = "1" if has_plugin(broker) else "6"
        return stays(broker, command.format("7"), command.format(known))

    assert brokers.each(newer) == brokers.all((True, True, True))
    unreadable = brokers.each(lambda broker: stays(broker, "chown root:root %s", "chown mosquitto:mosquitto %s"))
    assert unreadable == brokers.all((True, True, True))


def test_a_debian_upgrade_without_a_run_causes_a_warning(brokers: Brokers, role: Role) -> None:
    """The variables request `auto`, and the plugin is installed, but no run has applied it."""
    role.ensure(mosquitto_persistence_method="periodic")

    def warned(broker: Broker) -> bool:
        return "mosquitto.db is still in use" in broker.host.check_output("mosquitto-apply --check")

    for broker in brokers.values():
        broker.host.check_output("sed --in-place 's/^X-StoreMethod=.*/X-StoreMethod=auto/' %s && mosquitto-apply", UNIT)
    assert brokers.each(warned) == brokers.each(has_plugin)
    role.ensure(**SAFEST)
    assert brokers.each(warned) == brokers.all(False)


def test_a_reserve_larger_than_the_disk_is_rejected(brokers: Brokers, role: Role) -> None:
    role.ensure(**SAFEST)
    before = brokers.each(lambda broker: broker.show("MainPID"))
    run = role.run(**SAFEST, mosquitto_persistence_reserve=10**9)
    assert run.failed_hosts == {*brokers}
    for failures in run.failures.values():
        assert "mosquitto_persistence_reserve: 1000000000 MiB are more than the file system of" in failures[-1]
    assert brokers.each(lambda broker: broker.show("MainPID")) == before
