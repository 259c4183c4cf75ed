# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification playbook checks edge hosts too, and names an edge host that does not deliver."""

from __future__ import annotations

import subprocess

from firehose_testing.clients import ca_file
from firehose_testing.edges import cut_off
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.gerrit import Gerrit
from firehose_testing.runs import addresses, try_playbook


def verify(core: Firehose, edges: Firehoses, **variables: list[str]) -> subprocess.CompletedProcess[str]:
    return try_playbook(
        "verify",
        "--inventory",
        addresses({host.name: host.address for host in (core, *edges.values())}),
        firehose_verify_ca_file=ca_file(),
        firehose_verify_timeout=5,
        **variables,
    )


def test_working_edge_hosts_pass(core: Firehose, edges: Firehoses, gerrit: Gerrit) -> None:
    with gerrit.events():
        run = verify(core, edges)
    assert run.returncode == 0, run.stdout
    passed = [line for line in run.stdout.splitlines() if "passed  " in line and "deliver the same message" in line]
    for name in edges:
        assert [line for line in passed if f"[{name}]" in line]


def test_an_edge_host_that_gets_no_messages_is_named(core: Firehose, edges: Firehoses, gerrit: Gerrit) -> None:
    [deaf, other, *_others] = edges.values()
    with cut_off(deaf, "tcp dport 8884", hook="output"), gerrit.events():
        run = verify(core, edges, firehose_verify_edges=[deaf.name, other.name])
    assert run.returncode == 2, run.stdout
    failures = [line for line in run.stdout.splitlines() if "failed  " in line]
    assert [line for line in failures if f"[{deaf.name}]" in line]
    assert [line for line in failures if f"[{other.name}]" in line] == []
