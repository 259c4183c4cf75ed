# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The message of a play with an invalid value, which must fail before anything changes.

Each case is a host of one inventory. All hosts are the local machine, in check mode in case a validation is missing.
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


JSON = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_DISPLAY_FAILED_STDERR": "false"}


def run_playbook(
    folder: Path, inventory: dict, settings: dict[str, str], playbook: str = "firehose", **variables: str | int
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection in check mode, with settings of Ansible."""
    (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
    # An apt that knows no package: reading the package lists of the machine can take seconds, in each task.
    (folder / "lists").mkdir()
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n',
        encoding="utf-8",
    )
    return subprocess.run(
        [
            *("ansible-playbook", "--check", "--forks=8", f"--inventory={folder}/inventory.yml"),
            *("--extra-vars", json.dumps(variables), f"playbooks/{playbook}.yml"),
        ],
        cwd=HERE.parents[1],
        env={**os.environ, "APT_CONFIG": str(folder / "apt.conf"), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def play(folder: Path, inventory: dict, **variables: str | int) -> dict[str, list]:
    """Run a playbook of the collection in check mode; return each host's task results."""
    run = run_playbook(folder, inventory, JSON, **variables)
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
    """Run all cases at once; return each host's task results."""
    folder = tmp_path_factory.mktemp("bad_input")
    hosts = {name: {**CASES["fine"], **case["variables"]} for name, case in CASES["cases"].items()}
    hosts["nothing_wrong"] = CASES["fine"]
    edges = {name: {**CASES["fine_edge"], **case["variables"]} for name, case in CASES["edges"].items()}
    hosts |= {name: CASES["fine"] for name, case in CASES["edges"].items() if case.get("core")}
    hosts["nothing_wrong_with_texts"] = {**CASES["fine"], **CASES["texts"]}
    edges["nothing_wrong_with_an_edge"] = CASES["fine_edge"]
    edges["nothing_wrong_with_an_edge_with_texts"] = {**CASES["fine_edge"], **CASES["texts_edge"]}
    inventory = {"firehose": {"hosts": hosts, "vars": LOCAL}, "firehose_edges": {"hosts": edges, "vars": LOCAL}}
    return play(folder, inventory, firehose_edges_at_a_time="100%")


def failures(tasks: list[dict]) -> list[dict]:
    return [task for task in tasks if task.get("failed")]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("cases", "edges") for name in CASES[kind]])
def test_an_invalid_value_is_rejected(results, kind, name):
    (failed,) = failures(results[name])
    text = json.dumps(failed)
    for word in CASES[kind][name]["says"]:
        assert word in text
    assert "hunter2" not in text
    # The problem, and not the whole specification of all variables.
    assert len(text) < 2500
    # The core host is set up before the edge hosts are validated, and continues to serve.
    assert CASES[kind][name].get("core") or not [task["task"] for task in results[name] if task.get("changed")]


def test_no_edge_host_is_set_up_after_a_failed_one(tmp_path):
    hosts = dict.fromkeys(("first", "second", "third", "fourth", "fifth"), CASES["fine_edge"])
    hosts["second"] = {**CASES["fine_edge"], "firehose_edge_password": ""}
    inventory = {"firehose_edges": {"hosts": hosts, "vars": LOCAL}}
    found = play(tmp_path, inventory, firehose_edges_at_a_time=2)
    assert [task["msg"] for task in failures(found["first"])] == []
    assert "firehose_edge_password" in json.dumps(failures(found["second"]))
    for name in ("third", "fourth"):
        assert [task["msg"] for task in found[name]] == ["nothing is changed here, for second has failed"]
    assert found["fifth"] == []


@pytest.mark.parametrize(
    ("group", "fine", "name"),
    [
        ("firehose", "fine", "mosquitto_allow_anonymous"),
        ("firehose", "fine", "mosquitto_instances"),
        ("firehose_edges", "fine_edge", "mosquitto_instances"),
        ("firehose_edges", "fine_edge", "firehose_public_source"),
    ],
)
def test_variables_that_roles_set_are_rejected_as_extra_vars(tmp_path, group, fine, name):
    """There it would override the role's value, on all brokers."""
    found = play(tmp_path, {group: {"hosts": {"host": CASES[fine]}, "vars": LOCAL}}, **{name: True})
    [failed] = failures(found["host"])
    assert f"{name}: remove it from the command line" in failed["msg"]


def test_a_variable_that_uses_an_undefined_one_is_named(tmp_path):
    publishers = [{"name": "germqtt", "password": "{{ vault_missing }}", "topics": ["gerrit/#"]}]
    inventory = {"firehose": {"hosts": {"core": {**CASES["fine"], "firehose_publishers": publishers}}, "vars": LOCAL}}
    [failed] = failures(play(tmp_path, inventory)["core"])
    assert "firehose_publishers: " in failed["msg"]
    assert "vault_missing" in failed["msg"]


def test_an_invalid_value_of_the_verification_is_named_in_one_line(tmp_path):
    host = {**CASES["fine"], "firehose_verify_timeout": "soon"}
    found = play(tmp_path, {"firehose": {"hosts": {"core": host}, "vars": LOCAL}}, playbook="verify")
    [failed] = failures(found["core"])
    assert failed["msg"] == "firehose_verify_timeout: has to be a number, without quotes in YAML and JSON"


def test_the_base_values_of_the_cases_are_valid(results):
    """Otherwise a case could be rejected for another reason than its own."""
    for name in [name for name in results if name.startswith("nothing_wrong")]:
        assert failures(results[name]) == []
        assert [task for task in results[name] if "Get the installed packages" in task["task"]]


def test_variables_without_an_effect_cause_a_warning(tmp_path):
    """Only those variables, each once."""
    firehoses = {"one": {**CASES["fine"], **CASES["do_nothing"]}, "two": CASES["fine"]}
    edges = {"edge": {**CASES["fine_edge"], "firehose_edge_corehost": "x"}}
    inventory = {"firehose": {"hosts": firehoses, "vars": LOCAL}, "firehose_edges": {"hosts": edges, "vars": LOCAL}}
    run = run_playbook(tmp_path, inventory, {"COLUMNS": "1000"})  # so that a warning is one line
    warned = [line.split(": ")[1] for line in run.stderr.splitlines() if "WARNING" in line]
    assert sorted(warned) == sorted([*CASES["do_nothing"], "firehose_edge_corehost"])
    assert "hunter2" not in run.stderr
