# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario of docs/testing-your-site.md works as it stands there, with the collection from its tarball."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

from firehose_testing.documents import examples
from firehose_testing.site import EPHEMERAL

PAGE = "docs/testing-your-site.md"
# What Molecule tells the scenario that this test is part of
OUTER = re.compile("MOLECULE_|ANSIBLE_")
OWN = os.environ.get("FIREHOSE_RUN", "")
# Names of this run for those of the page, and a base image that needs no registry
NAMES = {
    "site-firehose": f"site-example{OWN}",
    "site/debian:13": f"site/debian:13{OWN}",
    "FROM ": "FROM opendev-firehose/",
}
FILES = {"yaml": ("molecule.yml", "converge.yml", "verify.yml"), "dockerfile": ("../../Dockerfile",)}


def named(code: str) -> str:
    for name, own in NAMES.items():
        code = code.replace(name, own)
    return code


def test_the_scenario_works(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "molecule/default"
    folder.mkdir(parents=True)
    for language, names in FILES.items():
        for name, code in zip(names, examples(PAGE, language), strict=True):
            (folder / name).write_text(named(code), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not OUTER.match(name)}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": f"{EPHEMERAL}/collections", "ANSIBLE_HOME": f"{tmp_path}/ansible"}
    # The old builder is the one that all of Debian's docker.io have.
    environment |= {"DOCKER_BUILDKIT": "0"}
    _install, *commands = examples(PAGE, "shell")
    for command in map(named, commands):
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    assert len(commands) == 2
