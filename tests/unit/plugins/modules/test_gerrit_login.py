# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module gerrit_login, run as Ansible runs it, with a shell script instead of ssh."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._host import gerrit
from ansible_collections.opendev.firehose.plugins.modules import gerrit_login

LOGS_IN = "echo; "
STREAMS = LOGS_IN + "exec sleep 60"


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "made"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.read_text()


@pytest.fixture
def run(capsys, tmp_path, monkeypatch, key):
    """Run the module with a script instead of ssh. In the script `$1` is the directory with the files. Returns the result."""
    monkeypatch.setattr(gerrit_login, "FOLDERS", tmp_path)
    monkeypatch.setattr(gerrit_login, "BEGINS_WITHIN", 0.5)

    def run_module(script: str = STREAMS, **options):
        monkeypatch.setattr(gerrit.Login, "command", lambda _login, folder: ["sh", "-c", script, "ssh", folder])
        arguments = {
            "host": "review.example.org",
            "user": "germqtt",
            "host_keys": ["ssh-ed25519 AAAA"],
            "private_key": key,
            "account": pwd.getpwuid(os.getuid()).pw_name,
            **options,
            "_ansible_remote_tmp": str(tmp_path),
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            gerrit_login.main()
        assert not list(tmp_path.glob("gerrit_login-*"))
        found = capsys.readouterr().out
        assert key.splitlines()[2] not in found
        return json.loads(found)

    return run_module


@pytest.mark.parametrize("check", [False, True])
def test_a_successful_login(run, check):
    result = run(_ansible_check_mode=check)
    assert (result.get("failed"), result["changed"], result["tried"]) == (None, False, True)


def test_files_for_ssh_are_not_readable_by_others(run, tmp_path, key):
    assert "failed" not in run(f'cp --archive "$1" {tmp_path}/seen; {STREAMS}')
    seen = tmp_path / "seen"
    assert {path.name: path.stat().st_mode & 0o777 for path in seen.iterdir()} == {"key": 0o600, "known_hosts": 0o600}
    assert seen.stat().st_mode & 0o777 == 0o750
    assert (seen / "key").read_text() == key
    assert (seen / "known_hosts").read_text() == "[review.example.org]:29418 ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo Host key verification failed. >&2; exit 255", "germqtt_gerrit_host_keys: "),
        ("echo Permission denied >&2; exit 255", "germqtt_ssh_private_key, germqtt_gerrit_user: "),
        (LOGS_IN + "echo stream events not permitted >&2; exit 1", "germqtt_gerrit_user: "),
        (LOGS_IN + "exit 0", "germqtt_gerrit_user: "),
        ("echo Connection refused >&2; exit 255", "germqtt_gerrit_host, germqtt_gerrit_port: "),
    ],
)
def test_a_failed_login(run, script, says):
    result = run(script)
    assert result["failed"]
    assert result["msg"].startswith(says)


def test_a_gerrit_that_does_not_answer(run):
    started = time.monotonic()
    result = run("exec sleep 60", timeout=0.5)
    assert time.monotonic() - started < 20
    assert result["msg"].startswith("germqtt_gerrit_host, germqtt_gerrit_port: ")


@pytest.mark.parametrize("kind", ["passphrase", "CRLF", "cut off"])
def test_an_unreadable_key(run, key, kind, tmp_path):
    """Gerrit is not contacted."""
    if kind == "passphrase":
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "hunter2", "-f", str(tmp_path / "made")], check=True)
    text = {
        "passphrase": (tmp_path / "made").read_text(),
        "CRLF": key.replace("\n", "\r\n"),
        "cut off": key[: len(key) // 2],
    }[kind]
    result = run(f"touch {tmp_path}/asked; {STREAMS}", private_key=text)
    assert result["msg"].startswith("germqtt_ssh_private_key: OpenSSH cannot use this key: ")
    assert not (tmp_path / "asked").exists()


def test_a_login_as_another_user_needs_systemd(run, monkeypatch, tmp_path):
    monkeypatch.setattr(gerrit_login.os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(gerrit_login, "BUS", tmp_path / "no")
    assert run("exit 255")["tried"] is False


def test_the_login_is_skipped_without_a_user_or_ssh(run, monkeypatch):
    assert run("exit 255", account="no-such-account")["tried"] is False
    monkeypatch.setattr(gerrit_login.shutil, "which", lambda _name: None)
    assert run("exit 255")["tried"] is False
