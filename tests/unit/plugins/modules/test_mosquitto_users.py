# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module mosquitto_users, run as Ansible runs it, on real files."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import password_file
from ansible_collections.opendev.firehose.plugins.modules import mosquitto_users

SECRETS = {"alice": "first-Secret-1", "bob": "second-Secret-2"}
USERS = [{"name": name, "password": password} for name, password in SECRETS.items()]


@pytest.fixture
def run(tmp_path, capsys):
    """Run the module and return its result; fail if a secret or a hash is anywhere in what it prints."""

    def run_module(users: list[dict[str, t.Any]], *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        args = {
            "path": str(tmp_path / "passwd"),
            "users": users,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            "_ansible_remote_tmp": str(tmp_path),
            **options,
        }
        with patch_module_args(args), pytest.raises(SystemExit):
            mosquitto_users.main()
        output = capsys.readouterr()
        assert not any(secret in output.out + output.err for secret in SECRETS.values())
        assert not re.search(r"\$7\$\d", output.out + output.err)
        return json.loads(output.out)

    return run_module


def contents(tmp_path: Path) -> str:
    return (tmp_path / "passwd").read_text(encoding="utf-8")


def test_a_file_is_created_kept_and_updated(run, tmp_path):
    first = run(USERS)
    assert (first["changed"], first["added"]) == (True, ["alice", "bob"])
    before = contents(tmp_path)
    again = run(USERS)
    assert (again["changed"], again["added"], again["updated"], again["removed"]) == (False, [], [], [])
    assert contents(tmp_path) == before
    rotated = run([{"name": "alice", "password": SECRETS["bob"]}])
    assert (rotated["changed"], rotated["updated"]) == (True, ["alice"])
    assert rotated["diff"][0]["before"] == "alice\nbob\n"
    assert rotated["diff"][0]["after"] == "alice (another password)\nbob\n"


@pytest.mark.parametrize("options", [{}, {"mode": "0640"}, {"mode": "0600"}])
def test_check_mode_predicts_and_writes_nothing(run, tmp_path, options):
    predicted = run(USERS, check=True, **options)
    assert not (tmp_path / "passwd").exists()
    real = run(USERS, **options)
    for key in ("changed", "added", "updated", "removed", "diff"):
        assert predicted[key] == real[key]
    assert real["diff"][1] == {}
    before = contents(tmp_path)
    change: list[dict[str, t.Any]] = [{"name": "bob", "state": "absent"}, {"name": "alice", "password": "another-one"}]
    predicted = run(change, check=True, mode="0400")
    assert contents(tmp_path) == before
    real = run(change, mode="0400")
    assert real["diff"][1]["after"]["mode"] == "0400"
    for key in ("changed", "added", "updated", "removed", "diff"):
        assert predicted[key] == real[key]
    assert real["removed"] == ["bob"]


def test_mode_and_comments_are_kept(run, tmp_path):
    path = tmp_path / "passwd"
    path.write_text("# by hand\n", encoding="utf-8")
    path.chmod(0o640)
    run(USERS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert contents(tmp_path).startswith("# by hand\nalice:")


def test_a_mode_alone_is_a_change(run, tmp_path):
    run(USERS)
    assert run(USERS, mode="0640", check=True)["changed"]
    assert stat.S_IMODE((tmp_path / "passwd").stat().st_mode) == 0o600
    assert run(USERS, mode="0640")["changed"]
    assert not run(USERS, mode="0640")["changed"]


@pytest.mark.parametrize("existing", [None, 0o600, 0o644])
def test_the_file_is_never_readable_by_others(run, tmp_path, existing):
    """At each call that opens, renames or chmods a file, check the modes of all files that are not empty, as the old one is."""
    if existing:
        (tmp_path / "passwd").touch()
        (tmp_path / "passwd").chmod(existing)
    readable: list[str] = []
    looks = 0
    watching = True

    def look(event: str, _args: t.Any) -> None:
        nonlocal looks
        if not watching or event not in {"open", "os.rename", "os.chmod", "os.chown", "shutil.copyfile"}:
            return
        looks += 1
        for path in tmp_path.iterdir():
            mode = path.stat().st_mode
            if mode & 0o077 and (path.stat().st_size or not existing):
                readable.append(f"{event}: {path.name} {mode:o}")

    old = os.umask(0o022)
    sys.addaudithook(look)
    try:
        run(USERS, mode="0600")
    finally:
        watching = False
        os.umask(old)
    assert looks > 3
    assert readable == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"alice\n", "passwd, line 1: there is no ':'"),
        (b"# \xff\n", "passwd, line 1: not UTF-8"),
        (b"# ok\nalice:$7$1$x\n", "passwd, line 2: the broker would reject"),
    ],
)
def test_an_invalid_file_is_not_changed(run, tmp_path, content, why):
    (tmp_path / "passwd").write_bytes(content)
    result = run(USERS)
    assert result["failed"]
    assert why in result["msg"]
    assert (tmp_path / "passwd").read_bytes() == content


def test_a_symbolic_link_is_rejected(run, tmp_path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "passwd").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in run(USERS)["msg"]


@pytest.mark.parametrize(
    ("users", "options", "why"),
    [
        ([{"name": "a:b", "password": SECRETS["bob"]}], {}, "users[0] (a:b): "),
        ([*USERS, USERS[0]], {}, "users[2] (alice): users[0] has the same name"),
        ([{"name": "a"}], {}, "users[0] (a): needs one of password, password_hash, password_file"),
        ([{"name": "a", "password_hash": "nonsense"}], {}, "users[0] (a): the broker would reject"),
        (USERS, {"iterations": 0}, "iterations: 0"),
    ],
)
def test_invalid_arguments_change_nothing(run, tmp_path, users, options, why):
    result = run(users, **options)
    assert result["failed"]
    assert why in result["msg"]
    assert not (tmp_path / "passwd").exists()


@pytest.mark.parametrize("password", ["s3cr\\et-Pass", 'it\'s "both"'])
def test_the_hosts_log_has_no_password(run, monkeypatch, password):
    """Ansible masks values that occur unchanged. Python writes these values with escapes."""
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _module, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    assert run([{"name": "zuul", "password": password}])["added"] == ["zuul"]
    assert logged
    assert not [line for line in logged if "zuul" in line or "Pass" in line or "both" in line]


def test_a_password_is_generated_into_a_file(run, tmp_path):
    path = tmp_path / "word"
    relay = [{"name": "relay", "password_file": str(path)}]
    assert run(relay, check=True)["added"] == ["relay"]
    assert not path.exists()
    assert run(relay)["added"] == ["relay"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not run(relay)["changed"]
    [line] = password_file.parse(contents(tmp_path))
    assert line.stored.matches(path.read_text(encoding="utf-8").strip())
    path.write_text("another\n", encoding="utf-8")
    assert run(relay)["updated"] == ["relay"]


def test_an_invalid_password_file_is_rejected(run, tmp_path):
    (tmp_path / "word").write_text("two words\n", encoding="utf-8")
    result = run([{"name": "relay", "password_file": str(tmp_path / "word")}])
    assert result["msg"] == f"relay: password_file: {tmp_path}/word does not hold one word"
    assert not (tmp_path / "passwd").exists()
