# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that roles compute in their vars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

ROLES = Path(__file__).parents[2] / "roles"


def value(role: str, name: str, **variables: t.Any) -> t.Any:
    """The value of one variable of a role, given variables of an inventory and results of tasks.

    It runs in its own process: with Ansible's templates loaded, modules would read their options in another way.
    """
    paths = [path for folder in ("defaults", "vars") for path in sorted((ROLES / role / folder).rglob("*.yml"))]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "ansible.cli.adhoc", "localhost", "--inventory", "localhost,"),
            *("--module-name", "ansible.builtin.debug", "--args", f"var={name}"),
            *(f"--extra-vars=@{path}" for path in paths),
            f"--extra-vars={json.dumps(variables)}",
        ],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.partition(" => ")[2])[name]


def test_lines_name_their_edge_host():
    results = [
        {"item": {"name": "a"}, "table": ["x  ", "y"], "failures": []},
        {"item": {"name": "b"}, "table": ["z"], "failures": ["z"]},
    ]
    found = value("firehose", "__firehose_edges_seen", __firehose_edges_verified={"results": results})
    assert found == {"table": ["x   [a]", "y [a]", "z [b]"], "failures": ["z [b]"]}
    found = value("firehose", "__firehose_edges_seen", __firehose_edges_verified={"results": []})
    assert found == {"table": [], "failures": []}


def test_public_brokers_differ_in_name_ports_and_client_id():
    first, second = value(
        "firehose_public",
        "__firehose_public_instances",
        firehose_public_names=["1", "2"],
        firehose_public_source={"addresses": ["127.0.0.1:800"], "password": "only-for-tests", "options": {"x": 1}},
    )
    assert second["listeners"] == [
        {"port": 602, "bind_address": "127.0.0.1", "protocol": "mqtt", "max_qos": 0},
        {"port": 702, "bind_address": "127.0.0.1", "protocol": "websockets", "max_qos": 0},
    ]
    [bridge] = second["bridges"]
    assert (bridge["name"], bridge["client_id_file"]) == ("firehose", "/etc/mosquitto-2/client-id")
    assert (bridge["addresses"], bridge["password"]) == (["127.0.0.1:800"], "only-for-tests")
    # Options that the source adds do not replace those of the role.
    assert (bridge["options"]["x"], bridge["options"]["restart_timeout"]) == (1, "1 5")
    assert (first["name"], first["persistence"]) == ("1", False)
    assert {key for key in first if first[key] != second[key]} == {"name", "listeners", "bridges"}
