# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates of the module text_files, in a play on the local machine."""

from __future__ import annotations

import json
import os
import subprocess

import pytest


@pytest.fixture
def play(tmp_path):
    """Run a play with one task of the module; return its result."""

    def run(files, **variables):
        (tmp_path / "templates").mkdir(exist_ok=True)
        (tmp_path / "templates/conf.j2").write_text(
            "{{ general }}: {{ broker.name }}{{ ' with options' if broker.options | default({}) else '' }}\n",
            encoding="utf-8",
        )
        playbook = tmp_path / "playbook.json"
        said = tmp_path / "said.json"
        tasks = [
            {"opendev.firehose.text_files": {"files": files}, "register": "result", "ignore_errors": True},
            {"ansible.builtin.copy": {"dest": str(said), "content": "{{ result | to_json }}"}},
        ]
        playbook.write_text(
            json.dumps(
                [
                    {
                        "hosts": "localhost",
                        "connection": "local",
                        "gather_facts": False,
                        "vars": variables,
                        "tasks": tasks,
                    }
                ]
            ),
            encoding="utf-8",
        )
        done = subprocess.run(
            ["ansible-playbook", playbook],
            cwd=tmp_path,
            env=os.environ | {"ANSIBLE_LOG_PATH": "/dev/null"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(said.read_text(encoding="utf-8"))

    return run


def test_a_template_has_its_own_variables_and_those_of_the_task(play, tmp_path):
    files = [
        {"path": f"{tmp_path}/{name}", "template": "conf.j2", "vars": {"broker": {"name": name, "options": options}}}
        for name, options in (("core", {}), ("public", {"x": 1}))
    ]
    result = play([*files, {"path": f"{tmp_path}/text", "content": "as it is\n"}], general="broker")
    assert result["changed_paths"] == [f"{tmp_path}/{name}" for name in ("core", "public", "text")]
    assert (tmp_path / "core").read_text(encoding="utf-8") == "broker: core\n"
    assert (tmp_path / "public").read_text(encoding="utf-8") == "broker: public with options\n"
    assert (tmp_path / "text").read_text(encoding="utf-8") == "as it is\n"


@pytest.mark.parametrize("file", [{}, {"content": "x", "template": "conf.j2"}, {"content": "x", "vars": {"a": 1}}])
def test_a_file_has_either_a_content_or_a_template(play, tmp_path, file):
    result = play([{"path": f"{tmp_path}/x", **file}])
    assert result["failed"]
    assert not (tmp_path / "x").exists()


def test_a_template_that_fails_changes_nothing(play, tmp_path):
    result = play([{"path": f"{tmp_path}/x", "template": "conf.j2"}], general="broker")
    assert result["failed"]
    assert "broker" in result["msg"]
    assert not (tmp_path / "x").exists()
