# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interrupted change disconnects no client, and the next run completes it."""

from __future__ import annotations

import subprocess
import time

import pytest
from firehose_testing.brokers import Broker, Brokers
from firehose_testing.changes.change import NOTHING, RELOAD, Change
from firehose_testing.changes.killed import APPLY, KEEP, KILLED, MADE_GOOD, RULE
from firehose_testing.changes.plugin import LONG, Changes, chosen
from firehose_testing.waiting import wait_until


@pytest.mark.parametrize("change", chosen(KILLED))
def test_a_killed_command_disconnects_no_client(changes: Changes, change: Change) -> None:
    for name, outcome in changes.make(change).items():
        assert not outcome.losses, (name, outcome.losses)
        assert outcome.opened == [], name
        assert outcome.failed, name
        assert outcome.action in (NOTHING, RELOAD), name


@pytest.mark.parametrize("moment", [0.3, 0.8, 1.5] if LONG else [0.8])
def test_the_broker_serves_after_its_container_is_killed(changes: Changes, brokers: Brokers, moment: float) -> None:
    """After the start, the broker serves with the old or the new set."""

    def die(broker: Broker) -> None:
        broker.host.check_output(f"{KEEP} && {RULE}")
        subprocess.run(["docker", "exec", "--detach", broker.name, APPLY], check=True)
        time.sleep(moment)
        subprocess.run(["docker", "kill", broker.name], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["docker", "start", broker.name], check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: broker.host.run("systemctl is-active --quiet mosquitto").rc == 0, "the broker is up", 60)
        broker.host.check_output(MADE_GOOD)

    changes.settle()
    brokers.each(die)
    changes.settle()
    assert changes.opened() == brokers.all([])
