# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that fails leaves the brokers, the limits and HAProxy as they were."""

from __future__ import annotations

import re
import typing as t

import pytest
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.public import ACCOUNTS, HAPROXY, PUBLIC_BROKERS, open_ports
from firehose_testing.runs import try_playbook
from firehose_testing.waiting import wait_until

STATE = (
    "sha256sum /etc/mosquitto*/passwd /etc/mosquitto*/acl /etc/firehose-haproxy/* /etc/germqtt/germqtt.conf;"
    " sha256sum /etc/systemd/system/*.service /etc/systemd/system/*.socket; readlink /etc/mosquitto*/live;"
    " systemctl show --property MainPID,ActiveEnterTimestamp,StateChangeTimestamp"
    f" mosquitto.service '{PUBLIC_BROKERS}' {HAPROXY}.service {HAPROXY}.socket {ACCOUNTS}.service {ACCOUNTS}.socket germqtt.service;"
    # The limits may have been changed and put back.
    " nft --stateless list chain inet firehose_limits connect"
)
PORT = 2345
# Other changes that the runs would make: an account, the public topics, and a limit.
OTHERS: dict[str, t.Any] = {
    "firehose_readers": [{"name": "newcomer", "password": "only-for-tests-new"}],
    "firehose_public_topics": ["gerrit/#"],
    "firehose_source_connections": 999,
}
# Variables that cannot be applied, and the error message.
CASES: dict[str, tuple[dict[str, t.Any], str]] = {
    "a Gerrit that does not answer": (
        {"germqtt_gerrit_port": 29419},
        "germqtt_gerrit_host, germqtt_gerrit_port: ",
    ),
    "a public port that another program has": (
        {"firehose_listeners": [{"port": 1883}, {"port": PORT, "tls": "{{ firehose_tls }}"}]},
        rf"firehose_listeners: port {PORT}: Address already in use: \S+, PID \d+\. Free the port, or use another",
    ),
    "a port for accounts that another program has": (
        {"firehose_account_listeners": [{"port": 1884}, {"port": PORT}]},
        rf"firehose_account_listeners: port {PORT}: Address already in use: \S+, PID \d+\. Free the port, or use another",
    ),
    # Validation cannot detect this before the accounts broker is tried.
    "a unix socket that cannot be": (
        {"firehose_account_listeners": [{"port": 1884}, {"socket": "/srv/nowhere/broker.sock"}]},
        r"/srv/nowhere",
    ),
}


@pytest.fixture
def firehose(firehoses: Firehoses) -> t.Iterator[Firehose]:
    """A host where another program uses a port."""
    [found, *_others] = firehoses.values()
    found.host.check_output(f"systemd-run --quiet --unit occupant python3 -m http.server {PORT}")
    wait_until(lambda: PORT in open_ports(found.host), "the port is taken")
    yield found
    found.host.check_output("systemctl stop occupant")


@pytest.mark.parametrize("case", CASES)
def test_a_failed_run_changes_nothing(firehose: Firehose, case: str) -> None:
    variables, said = CASES[case]
    before = firehose.host.check_output(STATE)
    run = try_playbook("firehose", "--limit", firehose.name, **{**OTHERS, **variables})
    assert run.returncode == 2, run.stdout
    assert re.search(said, run.stdout), run.stdout
    assert firehose.host.check_output(STATE) == before
