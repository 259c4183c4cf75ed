# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements in docs/architecture.md are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

COLLECTION = Path(__file__).parents[2]
TEXT = (COLLECTION / "docs/architecture.md").read_text(encoding="utf-8")
[WAY] = re.findall(r"\n## Where mosquitto.conf comes from\n(.*?)\n## ", TEXT, re.DOTALL)
# Each file, and the text to search for in it
ROWS = re.findall(r"^\| `(.+?)` \|(.*)\|$", WAY, re.MULTILINE)


def test_the_path_to_mosquitto_conf_is_short():
    assert ROWS[0][0] == "playbooks/firehose.yml"
    assert ROWS[-1][0].endswith("/mosquitto.conf.j2")
    assert len(ROWS) <= 12


@pytest.mark.parametrize(("path", "texts"), ROWS, ids=[path for path, _texts in ROWS])
def test_each_file_leads_to_the_next_one(path, texts):
    content = (COLLECTION / path).read_text(encoding="utf-8")
    assert [text for text in re.findall("`(.+?)`", texts) if text not in content] == []


def test_packages_of_modules_are_named():
    packages = {path.parent.name for path in (COLLECTION / "plugins/module_utils").glob("*/__init__.py")}
    assert {*re.findall(r"^\| `plugins/module_utils/(\w+)/` \|", TEXT, re.MULTILINE)} == packages


def test_the_packages_in_mosquitto_apply_are_named():
    [row] = re.findall(r"^\| `/usr/local/sbin/mosquitto-apply` \|(.*)\|$", TEXT, re.MULTILINE)
    text = (COLLECTION / "roles/mosquitto/tasks/configure.yml").read_text(encoding="utf-8")
    [packed] = re.findall(r"module_utils: \[(.+)\]", text)
    assert re.findall(r"(_\w+)/`", row) == packed.split(", ")


def test_paths_exist():
    paths = re.findall(r"`((?:roles|plugins|playbooks|molecule|tools)/[\w./-]+)`", TEXT)
    assert [path for path in paths if not (COLLECTION / path).exists()] == []
