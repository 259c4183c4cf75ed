# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module mosquitto_apply, run as Ansible runs it, with a program instead of mosquitto-apply that records its arguments."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.modules import mosquitto_apply

# The instance broken fails, the instance same needs no action, all others are reloaded.
PROGRAM = """#!/bin/sh
printf '%s\\n' "$*" >>{calls}
case "$*" in
*--only-put-back*) echo '{{"told": "Put back as before: x"}}' ;;
*broken) echo '{{"problem": "port 1 is taken"}}'; exit 1 ;;
*same) echo '{{"action": "", "installed": false, "enabled": false, "daemon_reload": false, "reasons": []}}' ;;
*) echo '{{"action": "reload", "installed": true, "enabled": false, "daemon_reload": false, "reasons": []}}' ;;
esac
"""


class Run(t.NamedTuple):
    """A result, and the calls of the program."""

    result: dict[str, t.Any]
    calls: list[str]


@pytest.fixture
def run(tmp_path, capsys) -> t.Callable[..., Run]:
    program, calls = tmp_path / "mosquitto-apply", tmp_path / "calls"
    program.write_text(PROGRAM.format(calls=calls), encoding="utf-8")
    program.chmod(0o755)

    def run_module(*instances: str, check: bool = False, put_back: bool = True) -> Run:
        internal = {"_ansible_check_mode": check, "_ansible_remote_tmp": str(tmp_path)}
        options = {"instances": [*instances], "put_back": put_back, "program": str(program)}
        with patch_module_args({**options, **internal}), pytest.raises(SystemExit):
            mosquitto_apply.main()
        return Run(json.loads(capsys.readouterr().out), calls.read_text(encoding="utf-8").splitlines())

    return run_module


def test_brokers_are_applied_in_order(run):
    result, calls = run("", "same", "public", put_back=False)
    assert calls == ["--json --timeout=10", "--json --timeout=10 same", "--json --timeout=10 public"]
    assert [broker["action"] for broker in result["brokers"]] == ["reload", "", "reload"]
    assert [broker["problem"] for broker in result["brokers"]] == [
        "enabled, needs a reload",
        "",
        "enabled, needs a reload",
    ]
    assert result["changed"]


def test_nothing_to_do_is_no_change(run):
    assert not run("same").result["changed"]


def test_check_mode_only_checks(run):
    result, calls = run("", check=True)
    assert calls == ["--json --timeout=10 --check --put-back"]
    assert result["changed"]


def test_after_a_failure_the_remaining_brokers_are_restored(run):
    result, calls = run("", "broken", "1", "2")
    assert [call.split()[2:] for call in calls] == [
        ["--put-back"],
        ["--put-back", "broken"],
        ["--only-put-back", "1"],
        ["--only-put-back", "2"],
    ]
    assert result["failed"]
    assert result["changed"]
    assert result["msg"].splitlines() == ["port 1 is taken", "1: Put back as before: x", "2: Put back as before: x"]


@pytest.mark.parametrize("options", [{"check": True}, {"put_back": False}])
def test_nothing_is_restored_in_check_mode_or_without_put_back(run, options):
    result, calls = run("broken", "1", **options)
    assert len(calls) == 1
    assert result["msg"] == "port 1 is taken"
