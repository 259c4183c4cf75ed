# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are replaced as a whole: concurrent changes are not lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file


@contextlib.contextmanager
def opened(path, **options):
    """The file, as a module with these options opens it."""
    with patch_module_args({"path": str(path), "_ansible_remote_tmp": str(path.parent), **options}):
        module = AnsibleModule(argument_spec={"path": {"type": "path"}}, add_file_common_args=True)
        with locked_file.TextFile(module) as file:
            yield file


APPEND = textwrap.dedent("""
    import sys, pathlib, time
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.testing import patch_module_args
    from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file

    path, name = sys.argv[1:]
    for number in range(20):
        with patch_module_args({"path": path, "_ansible_remote_tmp": str(pathlib.Path(path).parent)}):
            module = AnsibleModule(argument_spec={"path": {"type": "path"}}, add_file_common_args=True)
            with locked_file.TextFile(module) as file:
                content = file.content or ""
                time.sleep(0.002)
                file.put(f"{content}{name} {number}\\n")
""")


def test_concurrent_runs_lose_no_change(tmp_path):
    path = tmp_path / "file"
    names = ["a", "b", "c"]
    # The programs import the collection from the same place as this test. ansible-test has its own import mechanism.
    collections = str(Path(locked_file.__file__).parents[6])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([collections, os.environ.get("PYTHONPATH", "")])}
    runs = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), name], env=environment) for name in names]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert sorted(path.read_text().splitlines()) == sorted(f"{name} {number}" for name in names for number in range(20))
    assert [other.name for other in tmp_path.iterdir() if other.name.startswith(".")] == []


def test_concurrent_changes_of_other_programs_are_kept(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("old\n")
    with pytest.raises(SystemExit), opened(path) as file:
        path.write_text("from elsewhere\n")
        file.put("new\n")
    assert "was changed by another program in the meantime" in json.loads(capsys.readouterr().out)["msg"]
    assert path.read_text() == "from elsewhere\n"
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


def test_waiting_for_a_locked_file_has_a_time_limit(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(locked_file, "LOCK_TIMEOUT", 0.3)
    path = tmp_path / "file"
    with opened(path):
        with pytest.raises(SystemExit), opened(path):
            pass
        assert f"{path} is held by another run" in json.loads(capsys.readouterr().out)["msg"]
    with opened(path) as file:
        assert file.put("new\n") == (True, {})


def test_a_fifo_is_rejected(tmp_path, capsys):
    path = tmp_path / "file"
    os.mkfifo(path)
    with pytest.raises(SystemExit), opened(path):
        pass
    assert json.loads(capsys.readouterr().out)["msg"] == f"{path} is not a regular file"


def test_a_directory_that_cannot_be_locked_is_named(tmp_path, capsys, monkeypatch):
    def flock(_descriptor, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locked_file.fcntl, "flock", flock)
    with pytest.raises(SystemExit), opened(tmp_path / "file"):
        pass
    assert f"{tmp_path} cannot be locked: No locks available" in json.loads(capsys.readouterr().out)["msg"]


def test_an_unknown_owner_is_rejected_before_anything_changes(tmp_path, capsys):
    path = tmp_path / "file"
    with pytest.raises(SystemExit), opened(path, owner="nobody-has-this-name") as file:
        file.put("new\n")
    assert "owner 'nobody-has-this-name' does not exist" in json.loads(capsys.readouterr().out)["msg"]
    assert not path.exists()
