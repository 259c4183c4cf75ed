# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run restarts the broker if necessary, completes an interrupted run, and otherwise changes nothing."""

from __future__ import annotations

import copy
import typing as t

from firehose_testing.brokers import VARIABLES, WEBSOCKETS, WITHOUT_LIMITS, Broker, Brokers, Role
from firehose_testing.clients import ANONYMOUS
from firehose_testing.sessions import delivered

SERVICE = "Start, reload or restart the brokers"


def processes(brokers: Brokers) -> dict[str, str]:
    return brokers.each(lambda broker: broker.show("MainPID"))


def open_files(broker: Broker) -> str:
    limits = broker.host.file(f"/proc/{broker.show('MainPID')}/limits").content_string
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    return line.split()[3]


def reads_later(broker: Broker) -> bool:
    """Whether the account can read a topic that only the changed rules allow."""
    with broker.session("#", account="plain") as receiver, broker.session() as sender:
        return delivered(sender, receiver, ["later/a"]) == {"later/a"}


def changed_acl() -> dict[str, t.Any]:
    """The rules of the inventory, and one more."""
    acl = copy.deepcopy(VARIABLES["mosquitto_acl"])
    [rules] = [user["rules"] for user in acl["users"] if user["name"] == "plain"]
    rules.append({"topic": "later/#"})
    return {"mosquitto_acl": acl}


def test_the_next_run_loads_rules_of_an_interrupted_run(brokers: Brokers, role: Role) -> None:
    role.ensure(mosquitto_listeners=WITHOUT_LIMITS)
    before = processes(brokers)
    wanted = {**changed_acl(), "mosquitto_listeners": WITHOUT_LIMITS}
    role.interrupt(SERVICE, **wanted)
    assert brokers.each(reads_later) == brokers.all(False)
    run = role.run(**wanted)
    assert run.worked, run.failures
    assert run.changed == brokers.all([SERVICE])
    assert brokers.each(reads_later) == brokers.all(True)
    assert processes(brokers) == before


def test_the_next_run_applies_settings_of_an_interrupted_run(brokers: Brokers, role: Role) -> None:
    role.ensure(**changed_acl())
    before = processes(brokers)
    wanted = {**changed_acl(), "mosquitto_limit_nofile": 4097}
    role.interrupt("Write the accounts", **wanted)
    assert brokers.each(open_files) == brokers.all("4096")
    run = role.run(**wanted)
    assert run.worked, run.failures
    assert run.changed == brokers.all([SERVICE])
    assert brokers.each(open_files) == brokers.all("4097")
    assert not before.items() & processes(brokers).items()


def test_a_run_without_changes_does_not_reload_the_broker(brokers: Brokers, role: Role) -> None:
    role.recover()
    before, loaded = processes(brokers), brokers.each(Broker.loaded)
    run = role.repeat()
    assert run.worked, run.failures
    assert run.changed == brokers.all([])
    assert processes(brokers) == before
    assert brokers.each(Broker.loaded) == loaded


def test_changed_listeners_and_options_restart_the_broker(brokers: Brokers, role: Role) -> None:
    role.recover()
    before = processes(brokers)
    assert brokers.each(lambda broker: broker.lets_in(ANONYMOUS)) == brokers.all(False)
    run = role.run(
        mosquitto_listeners=[*VARIABLES["mosquitto_listeners"], {"port": 81, "protocol": "websockets"}],
        mosquitto_allow_anonymous=True,
        mosquitto_acl={"anonymous": [{"topic": "news/#"}], **VARIABLES["mosquitto_acl"]},
    )
    assert run.worked, run.failures
    assert not before.items() & processes(brokers).items()
    for broker in brokers.values():
        with broker.session("#", account=ANONYMOUS, port=81, way=WEBSOCKETS) as public, broker.session() as sender:
            for topic in ("both/a", "own/None/fence", "news/a"):
                sender.publish(topic, "for all?")
            public.wait_for(topic="news/a")
            assert public.got("for all?") == {"news/a"}
            assert brokers.each(lambda broker: broker.lets_in("admin")) == brokers.all(True)
