# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a play with a wrong value says, and that it says so before anything is changed.

Each case is a host of one inventory, all of them this machine, in check mode in case a refusal is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "cases.yml").read_text(encoding="utf-8"))


LOCAL = {"ansible_connection": "local", "ansible_become": False}


def play(folder: Path, inventory: dict, plays: list[Path], **variables: str | int) -> dict[str, list]:
    """Play playbooks in check mode; return each host's task results."""
    (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
    playbook = [{"ansible.builtin.import_playbook": str(path)} for path in plays]
    (folder / "playbook.yml").write_text(json.dumps(playbook), encoding="utf-8")
    run = subprocess.run(
        [
            *("ansible-playbook", "--check", "--forks=8", f"--inventory={folder}/inventory.yml"),
            *("--extra-vars", json.dumps(variables), f"{folder}/playbook.yml"),
        ],
        cwd=HERE.parents[1],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_DISPLAY_FAILED_STDERR": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        plays = json.loads(run.stdout)["plays"]
    except json.JSONDecodeError:
        pytest.fail(f"no JSON in: {run.stdout[-2000:]}\n{run.stderr[-2000:]}")
    found: dict[str, list] = {name: [] for group in inventory.values() for name in group["hosts"]}
    for task in (task for play in plays for task in play["tasks"]):
        for host, result in task["hosts"].items():
            found[host].append({"task": task["task"]["name"], **result})
    return found


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> dict:
    """Play all cases at once; return each host's task results."""
    folder = tmp_path_factory.mktemp("bad_input")
    hosts = {name: {**CASES["fine"], **case["variables"]} for name, case in CASES["cases"].items()}
    hosts["nothing_wrong"] = CASES["fine"]
    edges = {name: {**CASES["fine_edge"], **case["variables"]} for name, case in CASES["edges"].items()}
    hosts |= {name: CASES["fine"] for name, case in CASES["edges"].items() if case.get("core")}
    edges["nothing_wrong_with_an_edge"] = CASES["fine_edge"]
    edges["nothing_wrong_with_an_edge_of_nats"] = {**CASES["fine_edge"], "firehose_edge_engine": "nats"}
    servers = {name: {**CASES["fine_nats"], **case["variables"]} for name, case in CASES["nats"].items()}
    servers["nothing_wrong_with_nats"] = CASES["fine_nats"]
    inventory = {
        "firehose": {"hosts": hosts, "vars": LOCAL},
        "firehose_edges": {"hosts": edges, "vars": LOCAL},
        "nats": {"hosts": servers, "vars": LOCAL},
    }
    plays = [HERE.parents[1] / "playbooks/firehose.yml", HERE.parents[1] / "molecule/nats/converge.yml"]
    # This machine may be one whose own NATS is too old.
    return play(folder, inventory, plays, firehose_edges_at_a_time="100%", __nats_version="2.10.27")


def failures(tasks: list[dict]) -> list[dict]:
    return [task for task in tasks if task.get("failed")]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("cases", "edges", "nats") for name in CASES[kind]]
)
def test_refused(results, kind, name):
    (failed,) = failures(results[name])
    text = json.dumps(failed)
    for word in CASES[kind][name]["says"]:
        assert word in text
    assert "hunter2" not in text
    # A core is set up before the edges are looked at, and goes on serving.
    assert CASES[kind][name].get("core") or not [task["task"] for task in results[name] if task.get("changed")]


def test_no_edge_begins_behind_one_that_failed(tmp_path):
    hosts = dict.fromkeys(("first", "second", "third", "fourth", "fifth"), CASES["fine_edge"])
    hosts["second"] = {**CASES["fine_edge"], "firehose_edge_password": ""}
    inventory = {"firehose_edges": {"hosts": hosts, "vars": LOCAL}}
    found = play(tmp_path, inventory, [HERE.parents[1] / "playbooks/firehose.yml"], firehose_edges_at_a_time=2)
    assert [task["msg"] for task in failures(found["first"])] == []
    assert "firehose_edge_password" in json.dumps(failures(found["second"]))
    for name in ("third", "fourth"):
        assert [task["msg"] for task in found[name]] == ["nothing is changed here, for second has failed"]
    assert found["fifth"] == []


def test_the_values_that_the_cases_start_from_are_fine(results):
    """Else a case could be refused for another reason than its own."""
    assert failures(results["nothing_wrong"]) == []
    assert failures(results["nothing_wrong_with_nats"]) == []
    assert [task for task in results["nothing_wrong_with_nats"] if "Install NATS" in task["task"]]
    for edge in ("nothing_wrong_with_an_edge", "nothing_wrong_with_an_edge_of_nats"):
        assert failures(results[edge]) == []
        assert [task for task in results[edge] if "firehose_edge : Ask which packages are installed" in task["task"]]
    assert [task for task in results["nothing_wrong"] if "Ask which packages are installed" in task["task"]]
