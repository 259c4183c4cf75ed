# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers, what they say of themselves, and runs of the role."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest

from .clients import Account, Way
from .fixtures import Firehose, Firehoses, evaluated, reached
from .runs import try_playbook
from .waiting import wait_until

TCP = Way("tcp", "3.1.1")
WEBSOCKETS = Way("websockets", "3.1.1")
RELAY = Account("relay", "onlyForTestsRelay")
SESSIONS = "$MQTT_sess"


def hosts(group: str) -> Firehoses:
    """A group's hosts, none of which has accounts of a firehose."""
    return Firehoses({name: Firehose(*reached(name), {}, {}) for name in evaluated(group, "inventory_hostname")})


@pytest.fixture(scope="session")
def cluster() -> Firehoses:
    """The three servers that are one."""
    found = hosts("cluster")
    for server in found.values():
        wait_until(lambda server=server: has_leader(server), f"{server.name} had a leader")
    return found


@pytest.fixture(scope="session")
def alone() -> Firehose:
    """The server that has TLS, and says nothing of sessions."""
    [found] = hosts("alone").values()
    return found


@pytest.fixture(scope="session")
def old() -> Firehose:
    """The host whose Debian has a NATS that is too old."""
    [found] = hosts("old").values()
    return found


def asked(server: Firehose, path: str, port: int = 8222) -> dict[str, t.Any]:
    """What a server says of itself, to those on its host."""
    ask = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    return json.loads(server.host.check_output("python3 -c %s %s", ask, f"http://127.0.0.1:{port}/{path}"))


def has_leader(server: Firehose) -> bool:
    """Whether the servers have agreed on one of them."""
    return bool(asked(server, "jsz").get("meta_cluster", {}).get("leader"))


def streams(server: Firehose) -> dict[str, dict[str, t.Any]]:
    """All streams by their names, with configuration and state."""
    accounts = asked(server, "jsz?streams=true&config=true").get("account_details", [])
    return {stream["name"]: stream for account in accounts for stream in account.get("stream_detail", [])}


def run_role(servers: str, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    """Run the role on some of the hosts."""
    return try_playbook("../molecule/nats/converge", *options, servers=servers, **variables)
