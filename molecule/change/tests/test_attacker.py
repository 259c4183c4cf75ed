# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compromised broker tries to change files that root uses, while root changes the broker."""

from __future__ import annotations

import typing as t

import pytest
from firehose_testing.brokers import Broker, Brokers
from firehose_testing.changes.killed import APPLY, BRING_BACK, FOLDER, KEEP, RULE
from firehose_testing.changes.plugin import Changes

# A file of the broker's user. The sandbox of the unit makes it read-only, like the broker's copies.
TARGET, MET = "/etc/target-of-the-broker", "/var/tmp/met-the-trial"
# A process with the user, the capability and the file system of the unit. It can reach trial brokers through /proc.
ATTACK = (
    "while :; do for process in $(pgrep --exact mosquitto); do root=/proc/$process/root;"
    f" test ! -d $root/run/trial-set || echo met >{MET}; echo taken >$root{TARGET}; done; done 2>/dev/null"
)
SANDBOX = " ".join(
    f"--property {name}"
    for name in (
        "User=mosquitto",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "ProtectSystem=strict",
        "ReadWritePaths=/var/tmp",
    )
)
START = (
    f"install --owner mosquitto --mode 0600 /dev/null {TARGET} && mkdir --parents /run/mosquitto/set.new"
    f" && systemd-run --quiet --unit attacker {SANDBOX} sh -c '{ATTACK}'"
)
STOP = f"systemctl stop attacker; rm -rf {TARGET} {MET} /run/mosquitto/set.new; {BRING_BACK}; {APPLY}"


@pytest.fixture(scope="module")
def attacked(changes: Changes, brokers: Brokers) -> t.Iterator[dict[str, str]]:
    """For each broker: the contents of the target and of the attacker's note after a change, and the number of sets."""

    def change(broker: Broker) -> str:
        broker.host.check_output(f"{KEEP} && {RULE} && {START}")
        broker.host.check_output(APPLY)
        return broker.host.check_output(f"cat {MET} {TARGET}; ls {FOLDER}/sets | wc -l")

    changes.settle()
    yield brokers.each(change)
    brokers.each(lambda broker: broker.host.check_output(STOP))


def test_the_broker_cannot_change_files_of_a_trial_broker(brokers: Brokers, attacked: dict[str, str]) -> None:
    assert attacked == brokers.all("met\n1")


@pytest.mark.usefixtures("attacked")
def test_only_root_can_read_the_files_for_a_rollback(brokers: Brokers) -> None:
    def readable(broker: Broker) -> str:
        broker.host.check_output("runuser --user mosquitto -- cat %s", f"{FOLDER}/live/mosquitto.conf")
        files = f"{FOLDER}/passwd {FOLDER}/acl {FOLDER}/live/kept.json"
        return broker.host.run(f"runuser --user mosquitto -- cat {files}").stdout

    assert brokers.each(readable) == brokers.all("")
