# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single-file programs: the same files give the same program, and it runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _zipapp


@pytest.fixture
def program(tmp_path):
    """The packages of a program that prints its arguments."""

    def write(folder, moment):
        package = tmp_path / folder / "said"
        package.mkdir(parents=True)
        files = {
            "__init__.py": "",
            "cli.py": "import sys\n\nfrom . import words\n\n\ndef main():\n    print(words.TEXT, sys.argv[1])\n    return 3\n",
            "words.py": 'TEXT = "Grüße"\n',
        }
        for name, text in files.items():
            (package / name).write_text(text, encoding="utf-8")
            os.utime(package / name, (moment, moment))
        return tmp_path / folder

    return write


def test_the_program_runs(program, tmp_path):
    archive = tmp_path / "said"
    archive.write_bytes(_zipapp.build(program("src", 1e9), "said.cli:main", sys.executable))
    archive.chmod(0o755)
    run = subprocess.run([archive, "word"], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    assert (run.returncode, run.stdout) == (3, "Grüße word\n")


def test_packages_of_the_collection_include_subpackages(program, tmp_path, monkeypatch):
    below = tmp_path / "utils/_mqtt/_inner"
    below.mkdir(parents=True)
    for folder in (below, below.parent):
        (folder / "__init__.py").touch()
    (below / "words.py").write_text('TEXT = "below"\n', encoding="utf-8")
    monkeypatch.setattr(_zipapp, "MODULE_UTILS", tmp_path / "utils")
    source = program("src", 1e9)
    name = f"{_zipapp.PACKAGE.replace('/', '.')}._mqtt._inner"
    cli = f"from {name} import words\n\n\ndef main():\n    print(words.TEXT)\n"
    (source / "said/cli.py").write_text(cli, encoding="utf-8")
    archive = tmp_path / "said"
    archive.write_bytes(_zipapp.build(source, "said.cli:main", sys.executable, ["_mqtt"]))
    # Isolated, so that it does not find the collection that is installed for the tests
    run = subprocess.run([sys.executable, "-I", "-S", archive], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    assert (run.returncode, run.stdout) == (0, "below\n")


def test_the_same_files_make_the_same_archive(program):
    first, later = program("first", 1e9), program("later", 1.5e9)
    (later / "said/__pycache__").mkdir()
    (later / "said/__pycache__/cli.cpython-311.pyc").write_bytes(b"compiled")
    assert _zipapp.build(first, "said.cli:main", "/usr/bin/python3") == _zipapp.build(
        later, "said.cli:main", "/usr/bin/python3"
    )


def test_another_file_makes_another_archive(program):
    first, later = program("first", 1e9), program("later", 1e9)
    (later / "said/words.py").write_text('TEXT = "Gruß"\n', encoding="utf-8")
    assert _zipapp.build(first, "said.cli:main", "/usr/bin/python3") != _zipapp.build(
        later, "said.cli:main", "/usr/bin/python3"
    )
