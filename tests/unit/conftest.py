# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for several parts of the tests."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t
from pathlib import Path

import hypothesis
import pytest
import yaml

# The same examples in every run, so that a failure is caused by a change. `make units` tries more of them, with one
# ansible-core: --hypothesis-profile=thorough
repeatable = hypothesis.settings(derandomize=True, database=None, deadline=None, max_examples=20)
hypothesis.settings.register_profile("quick", repeatable)
hypothesis.settings.register_profile("thorough", repeatable, max_examples=150)
hypothesis.settings.load_profile("quick")

ROLES = Path(__file__).parents[2] / "roles"


@dataclasses.dataclass(frozen=True)
class Role:
    """A role as its files describe it."""

    specs: dict[str, t.Any]
    defaults: dict[str, t.Any]
    readme: str

    @property
    def options(self) -> dict[str, t.Any]:
        return self.specs["main"]["options"]


@pytest.fixture(scope="session")
def roles() -> dict[str, Role]:
    """All roles by their names."""

    def load(path: Path) -> dict[str, t.Any]:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    return {
        path.name: Role(
            load(path / "meta/argument_specs.yml")["argument_specs"],
            load(path / "defaults/main.yml"),
            (path / "README.md").read_text(encoding="utf-8"),
        )
        for path in ROLES.iterdir()
    }


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=broker"
    names = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "keyUsage=digitalSignature,keyCertSign",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path)


@pytest.fixture
def other_certificate(tmp_path):
    (tmp_path / "other").mkdir()
    return self_signed(tmp_path / "other")
