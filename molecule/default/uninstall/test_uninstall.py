# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of docs/operate.md: back up a host, uninstall the firehose, set up a new one and restore the backup."""

from __future__ import annotations

import re
import subprocess
import typing as t

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, RETAINED, WAYS, PahoSubscriber, publish
from firehose_testing.documents import example
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.germqtt import Germqtt
from firehose_testing.runs import run_playbook
from firehose_testing.waiting import wait_until

PAGE = "docs/operate.md"
TOPIC, PAYLOAD = "ci/1/backup", "retained before the backup"
OURS = "mosquitto|firehose|germqtt|haproxy"
# What Debian and this test keep: the package lists' caches, the logs of apt, and the backup
KEPT = r"/var/(lib|cache)/(apt|dpkg|systemd)/|/var/log/apt/|/root/firehose\.tar\.gz|/usr/share/|/var/lib/haproxy$"


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


def left(firehose: Firehose) -> dict[str, t.Any]:
    """What a firehose could leave behind on a host."""
    found = firehose.host.check_output(
        f"find / -xdev -regextype egrep -regex '.*/[^/]*({OURS})[^/]*' 2>/dev/null; true"
    )
    units = firehose.host.check_output(
        "systemctl list-units --all --plain --no-legend; systemctl list-unit-files --no-legend"
    )
    return {
        "files": [path for path in found.splitlines() if not re.search(KEPT, path)],
        "units": re.findall(rf"^\S*(?:{OURS})\S*", units, re.MULTILINE),
        "users": re.findall(
            rf"^[^:]*(?:{OURS})[^:]*", firehose.host.check_output("cat /etc/passwd /etc/group"), re.MULTILINE
        ),
        "tables": re.findall(rf"\S*(?:{OURS})\S*", firehose.host.run("nft list tables").stdout),
        "sockets": firehose.host.check_output("ss -Htln sport = :1883 or sport = :80 or sport = :8884"),
    }


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
    nothing = {"files": [], "units": [], "users": [], "tables": [], "sockets": ""}
    assert firehoses.each(left) == dict.fromkeys(firehoses, nothing)


def test_the_backup_can_be_restored(firehoses: Firehoses, before: dict[str, dict[str, int]]) -> None:
    """On a host that was set up anew. The run that the page wants afterwards finds nothing to do."""
    run_playbook()
    firehoses.each(lambda firehose: run(firehose, "tar -xzf firehose.tar.gz"))
    assert run_playbook().changed == {name: [] for name in firehoses}
    for name, firehose in firehoses.items():
        with PahoSubscriber(firehose.address, WAYS[0], [TOPIC]) as subscriber:
            subscriber.wait_for(topic=TOPIC, payload=PAYLOAD)
        germqtt = Germqtt(firehose)
        germqtt.wait_until_connected()
        wait_until(
            lambda germqtt=germqtt, name=name: germqtt.counts()["stored"] >= before[name]["stored"] > 0,
            "the counters",
            10,
        )
