# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's variables agree in argument specs, defaults and README, and no registered result has the name of a variable."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"
TOOL = Path(__file__).parents[2] / "tools/role_tables.py"


@pytest.mark.parametrize("name", ["firehose", "firehose_public", "germqtt", "mosquitto"])
def test_variables(roles, name):
    role = roles[name]
    options = {key: option for spec in role.specs.values() for key, option in spec["options"].items()}
    assert {key: option["default"] for key, option in options.items() if "default" in option} == role.defaults
    # An entry point uses the variables of the main one, some of them, or others.
    entry_points = [spec["options"] for spec in role.specs.values()]
    assert all(own.items() <= role.options.items() or not set(own) & set(role.options) for own in entry_points)
    # Variables of a firehose's policy have its prefix, in each role.
    prefix = name.partition("_")[0]
    assert all(key.startswith(f"{prefix}_") for spec in role.specs.values() for key in spec["options"])


def test_readmes_have_the_tables_of_make_tables(roles):
    """It writes the tables of variables from the specs."""
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
    assert all("| `" in role.readme for role in roles.values())


def test_all_roles_are_checked(roles):
    assert sorted(roles) == ["firehose", "firehose_public", "germqtt", "mosquitto"]


TASKS = {
    path: path.read_text(encoding="utf-8")
    for path in (*ROLES.glob("*/tasks/*.yml"), *ROLES.parent.glob("playbooks/*.yml"))
}


def test_no_task_file_is_chosen_by_a_variable():
    """A search for its name then finds its includes."""
    found = re.compile(
        r"(?:tasks_from|(?:include|import)_tasks|file|name): .*\{\{.*\.yml|(?:tasks_from|(?:include|import)_tasks): .*\{\{"
    )
    assert [str(path) for path, text in TASKS.items() if found.search(text)] == []


def test_entry_points_that_roles_and_playbooks_use_are_documented(roles):
    used = set()
    for text in TASKS.values():
        for role, more in re.findall(r"name: opendev\.firehose\.(\w+)\n(\s+tasks_from: \w+)?", text):
            if role in roles:
                used.add((role, more.partition("tasks_from: ")[2] or "main"))
    assert ("firehose", "main") in used
    assert [(role, entry) for role, entry in sorted(used) if entry not in roles[role].specs] == []


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_private_variables_stay_in_their_role(role):
    others = [f"__{path.name}_" for path in ROLES.iterdir() if path.name != role]
    # The longest name first: __firehose_public_ does not belong to the role firehose.
    names = sorted([f"__{role}_", *others], key=len, reverse=True)
    found = set()
    for path in (ROLES / role).rglob("*"):
        if path.suffix in {".yml", ".j2"}:
            for name in re.findall(r"\b__\w+", path.read_text(encoding="utf-8")):
                owner = next((prefix for prefix in names if name.startswith(prefix)), None)
                if owner in others:
                    found.add(f"{path.name}: {name}")
    assert found == set()


def test_variables_that_role_firehose_sets_itself_are_listed(roles):
    def read(path: str) -> t.Any:
        return yaml.safe_load((ROLES / "firehose" / path).read_text(encoding="utf-8"))

    accounts = read("vars/main/brokers.yml")["__firehose_accounts_broker"]
    public = read("../firehose_public/vars/main/brokers.yml")["__firehose_public_broker"]
    # A variable that the role sets for only one of the brokers is the operator's for the other one, except accounts.
    decided = (set(accounts) & {*public, "listeners"}) | {"users_prune"}
    names = {f"mosquitto_{key}" for key in decided - {"variables"}} | {"mosquitto_instances"}
    # The accounts broker's are the role's, and public brokers store nothing.
    assert public["persistence"] is False
    names |= {"mosquitto_persistence_method", "mosquitto_autosave_interval", "mosquitto_autosave_changes"}
    names |= {name for task in read("tasks/main.yml") for name in task.get("vars", {}) if name.startswith("germqtt_")}
    listed = read("vars/main/replaced.yml")["__firehose_replacements"]
    assert set(listed) == names
    assert [name for name, remedy in listed.items() if f"| `{name}` | {remedy} |" not in roles["firehose"].readme] == []


def tasks(path: Path) -> t.Iterator[dict[str, t.Any]]:
    """The tasks of a task file or a playbook, including those in blocks."""

    def walk(found: t.Any) -> t.Iterator[dict[str, t.Any]]:
        for task in found or []:
            yield task
            for part in ("tasks", "block", "rescue", "always"):
                yield from walk(task.get(part))

    return walk(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_ansible_does_not_validate_variables():
    """The roles validate them, and report each invalid one in one line. Ansible would print the whole specification."""
    paths = [*ROLES.glob("*/tasks/*.yml"), *(ROLES.parent / "playbooks").glob("*.yml")]
    roles = [
        (path, task[module])
        for path in paths
        for task in tasks(path)
        for module in ("ansible.builtin.include_role", "ansible.builtin.import_role")
        if module in task
    ]
    assert {path.parent.name for path, _role in roles} == {"tasks", "playbooks"}
    assert [(path, role) for path, role in roles if role.get("rolespec_validate") is not False] == []


def test_variables_that_roles_set_are_rejected_as_extra_vars():
    paths = [path for name in ("firehose", "firehose_public") for path in (ROLES / name / "tasks").glob("*.yml")]
    every = [task for path in paths for task in tasks(path)]
    names = {name for task in every for name in task.get("vars", {}) if not name.startswith("__")}
    own = yaml.safe_load((ROLES / "firehose/vars/main/replaced.yml").read_text(encoding="utf-8"))
    public = yaml.safe_load((ROLES / "firehose_public/tasks/validate.yml").read_text(encoding="utf-8"))
    set_by_role = {*own["__firehose_set_by_role"], *public[0]["opendev.firehose.validate_role"]["set_by_role"]}
    germqtt = {name for name in own["__firehose_replacements"] if name.startswith("germqtt_")}
    # Brokers have the others as keys of mosquitto_instances, which the command line does not override.
    assert names == set_by_role | germqtt


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_no_result_has_the_name_of_a_variable(role):
    """A registered result overrides a variable of the role, from its task on."""
    variables = set()
    for folder in ("vars", "defaults"):
        for path in (ROLES / role / folder).rglob("*.yml"):
            variables |= set(re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    registered = {
        name
        for path in (ROLES / role / "tasks").glob("*.yml")
        for name in re.findall(r"^\s*register: (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert registered
    assert registered & variables == set()
