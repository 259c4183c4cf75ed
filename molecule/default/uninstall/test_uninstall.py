# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of docs/operate.md: back up a host, uninstall the firehose, set up a new one and restore the backup."""

from __future__ import annotations

import re
import subprocess

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, RETAINED, WAYS, PahoSubscriber, publish
from firehose_testing.documents import example
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.germqtt import Germqtt
from firehose_testing.runs import run_playbook

PAGE = "docs/operate.md"
TOPIC, PAYLOAD = "ci/1/backup", "retained before the backup"
# Everything on a host that has a name
NAMES = """
find / /run -xdev
cut -d: -f1 /etc/passwd /etc/group
systemctl list-units --all --plain --no-legend | cut -d' ' -f1
systemctl list-unit-files --no-legend | cut -d' ' -f1
nft list tables
"""
OURS = re.compile(r"(mosquitto|firehose|germqtt|haproxy)[^/]*$")
# What Debian's packages leave, the state of apt and dpkg, and the backup. systemd keeps the slice until the host restarts.
KEPT = re.compile(
    r"/libmosquitto|^/(var/lib|run)/haproxy|^/var/(lib|cache)/(apt|dpkg)/|^mosquitto$|^system-mosquitto\.slice$"
    r"|^/root/firehose\.tar\.gz$"
)
PORTS = "sport = :1883 or sport = :80 or sport = :8084 or sport = :884"


def run(firehose: Firehose, part: str) -> None:
    """Run the example that has a text in it, in root's home directory. apt-get gets its answer."""
    code = example(PAGE, "shell", part)
    command = ["docker", "exec", "--interactive", "--workdir", "/root", firehose.host.backend.name]
    done = subprocess.run(
        [*command, "bash", "-ec", code],
        input="y\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def left(firehose: Firehose) -> list[str]:
    """What a firehose has left behind on a host."""
    names = firehose.host.check_output(NAMES).splitlines()
    ports = firehose.host.check_output(f"ss --no-header --tcp --listening --numeric '{PORTS}'").splitlines()
    return [name for name in names if OURS.search(name) and not KEPT.search(name)] + ports


@pytest.fixture(scope="module")
def before(firehoses: Firehoses) -> dict[str, dict[str, int]]:
    """Back up all hosts, and uninstall the firehose; return what germqtt had counted."""

    def all_of_it(firehose: Firehose) -> dict[str, int]:
        publish(firehose.address, firehose.publishers["ci-1"], ACCOUNT_WAYS[0], RETAINED, {TOPIC: PAYLOAD})
        counts = Germqtt(firehose).counts()
        run(firehose, "tar -czf /root/firehose.tar.gz")
        run(firehose, "apt-get purge")
        return counts

    return firehoses.each(all_of_it)


@pytest.mark.usefixtures("before")
def test_nothing_is_left(firehoses: Firehoses) -> None:
    assert firehoses.each(left) == {name: [] for name in firehoses}


def test_the_backup_can_be_restored(firehoses: Firehoses, before: dict[str, dict[str, int]]) -> None:
    """On a host that was set up anew. The run afterwards gives the brokers the files of the backup."""
    run_playbook()
    firehoses.each(lambda firehose: run(firehose, "tar -xzf firehose.tar.gz"))
    changed = run_playbook().changed
    assert list(changed.values()) == [["opendev.firehose.mosquitto : Start, reload or restart the brokers"]] * len(
        firehoses
    )
    for name, firehose in firehoses.items():
        with PahoSubscriber(firehose.address, WAYS[0], [TOPIC]) as subscriber:
            subscriber.wait_for(topic=TOPIC, payload=PAYLOAD)
        germqtt = Germqtt(firehose)
        germqtt.wait_until_connected()
        assert germqtt.counts()["stored"] >= before[name]["stored"] > 0
