# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module text_files, run as Ansible runs it, on real files."""

from __future__ import annotations

import json
import os
import stat
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file
from ansible_collections.opendev.firehose.plugins.modules import text_files

SECRET = 'only-for-tests: it\'s "secret"\n'
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def logged() -> list[str]:
    """The messages that the module writes to the host's log."""
    return []


@pytest.fixture
def run(tmp_path, capsys, monkeypatch, logged) -> Run:
    """Run the module and return its result; fail if a secret text is in its output, or any text in the log."""
    monkeypatch.setattr(AnsibleModule, "log", lambda _module, msg, log_args=None: logged.append(f"{msg} {log_args}"))

    def run_module(*, check: bool = False, diff: bool = True, **options: t.Any) -> dict[str, t.Any]:
        internal = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args({**options, **internal}), pytest.raises(SystemExit):
            text_files.main()
        output = capsys.readouterr()
        assert "only-for-tests" not in output.out + output.err
        assert not [line for line in logged if "only-for-tests" in line or "shown to all" in line]
        return json.loads(output.out)

    return run_module


@pytest.fixture
def wanted(tmp_path) -> dict[str, t.Any]:
    """Two directories that do not exist, three files in them and one beside them."""
    folder, deeper = f"{tmp_path}/folder", f"{tmp_path}/folder/deeper"
    return {
        "directories": [{"path": deeper, "mode": "0700"}, {"path": f"{folder}/", "mode": "0750"}],
        "files": [
            {"path": f"{deeper}/key", "content": SECRET, "mode": "0600", "secret": True},
            {"path": f"{deeper}/hosts", "content": "shown to all\n", "mode": "0640"},
            {"path": f"{folder}/conf", "content": "shown to all: ä\n", "mode": "0640"},
            {"path": f"{tmp_path}/unit", "content": "shown to all", "mode": "0644"},
        ],
    }


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and text of all files and directories."""
    return {
        str(path.relative_to(folder)): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_text(encoding="utf-8") if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def identity(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_ctime_ns) for path in folder.rglob("*")}


def test_one_run_creates_all_files_and_the_next_changes_nothing(run, wanted, tmp_path, logged):
    first = run(**wanted)
    assert logged
    names = ["folder", "folder/deeper", "folder/deeper/key", "folder/deeper/hosts", "folder/conf", "unit"]
    assert first["changed_paths"] == [f"{tmp_path}/{name}" for name in names]
    assert first["changed"]
    assert state(tmp_path) == {
        "folder": (0o750, ""),
        "folder/deeper": (0o700, ""),
        "folder/deeper/key": (0o600, SECRET),
        "folder/deeper/hosts": (0o640, "shown to all\n"),
        "folder/conf": (0o640, "shown to all: ä\n"),
        "unit": (0o644, "shown to all"),
    }
    before = identity(tmp_path)
    again = run(**wanted)
    assert (again["changed"], again["changed_paths"], again["diff"]) == (False, [], [])
    assert identity(tmp_path) == before


def test_unchanged_files_are_not_rewritten(run, wanted, tmp_path):
    run(**wanted)
    before = identity(tmp_path)
    wanted["files"][2]["content"] = "other"
    conf = f"{tmp_path}/folder/conf"
    assert run(**wanted)["changed_paths"] == [conf]
    # Replacing a file changes its directory.
    after = identity(tmp_path)
    assert {path for path in after if after[path] != before[path]} == {conf, f"{tmp_path}/folder"}


def test_the_previous_content_is_returned_on_request(run, wanted, tmp_path):
    assert run(**wanted, previous=True)["previous"] == []
    wanted["files"][0]["content"] = f"{SECRET}other"
    wanted["files"][1]["content"] = "other"
    again = run(**wanted, previous=True)
    assert again["previous"] == [{"path": f"{tmp_path}/folder/deeper/hosts", "content": "shown to all\n"}]
    wanted["files"][1]["content"] = "another"
    assert "previous" not in run(**wanted)
    run(files=again["previous"])
    assert state(tmp_path)["folder/deeper/hosts"] == (0o640, "shown to all\n")


def test_the_diff_hides_secrets(run, wanted, tmp_path):
    run(**wanted)
    wanted["files"][0]["content"] += "more"
    wanted["files"][1].update(content="other", mode="0600")
    wanted["directories"][0]["mode"] = "0755"
    deeper = f"{tmp_path}/folder/deeper"
    assert run(**wanted)["diff"] == [
        diff(f"{deeper} (attributes)", {"mode": "0700"}, {"mode": "0755"}),
        diff(f"{deeper}/key", "a secret text\n", "another secret text\n"),
        diff(f"{deeper}/hosts", "shown to all\n", "other"),
        diff(f"{deeper}/hosts (attributes)", {"mode": "0640"}, {"mode": "0600"}),
    ]


def diff(header: str, before: object, after: object) -> dict[str, object]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def test_the_diff_of_new_files(run, wanted, tmp_path):
    shown = {change["after_header"]: (change["before"], change["after"]) for change in run(**wanted)["diff"]}
    assert shown == {
        f"{tmp_path}/folder": ("absent\n", "directory\n"),
        f"{tmp_path}/folder/deeper": ("absent\n", "directory\n"),
        f"{tmp_path}/folder/deeper/key": ("", "a secret text\n"),
        f"{tmp_path}/folder/deeper/hosts": ("", "shown to all\n"),
        f"{tmp_path}/folder/conf": ("", "shown to all: ä\n"),
        f"{tmp_path}/unit": ("", "shown to all"),
    }


def test_no_text_is_returned_without_diff_mode(run, wanted):
    result = run(**wanted, diff=False)
    assert result["changed"]
    assert "shown to all" not in json.dumps(result)


def test_check_mode_predicts_and_changes_nothing(run, wanted, tmp_path):
    def predicted_then_real() -> dict[str, t.Any]:
        before = state(tmp_path)
        predicted = run(**wanted, check=True)
        assert state(tmp_path) == before
        real = run(**wanted)
        assert predicted == real
        return real

    assert len(predicted_then_real()["changed_paths"]) == 6
    wanted["files"][0].update(content="other", mode="0400")
    wanted["files"][3]["mode"] = "0600"
    assert predicted_then_real()["changed_paths"] == [f"{tmp_path}/folder/deeper/key", f"{tmp_path}/unit"]
    assert predicted_then_real()["changed_paths"] == []


def test_check_mode_accepts_unknown_owners_of_new_files(run, wanted):
    wanted["directories"][0]["owner"] = wanted["files"][0]["group"] = "nobody-has-this-name"
    assert len(run(**wanted, check=True)["changed_paths"]) == 6


@pytest.mark.parametrize("existing", [False, True])
def test_check_mode_accepts_unknown_owners(run, wanted, existing):
    """Also for existing files, where it reports the change of the owner."""
    if existing:
        run(**wanted)
    for entry in (wanted["files"][3], wanted["directories"][1]):
        entry["owner"] = "nobody-has-this-name"
    result = run(check=True, **wanted)
    paths = {wanted["files"][3]["path"], wanted["directories"][1]["path"].rstrip("/")}
    assert paths <= set(result["changed_paths"])
    assert not existing or [entry["after"] for entry in result["diff"]] == [{"owner": "nobody-has-this-name"}] * 2


@pytest.mark.parametrize("existing", [None, 0o644])
def test_a_secret_file_is_never_readable_by_others(run, wanted, tmp_path, existing):
    """At each call that opens, renames or chmods a file, check that no file with the secret is readable by others."""
    if existing:
        run(**wanted)
        key = tmp_path / "folder/deeper/key"
        key.write_text("old\n", encoding="utf-8")
        key.chmod(existing)
    else:
        wanted["directories"][0]["mode"] = wanted["directories"][1]["mode"] = "0755"
    readable: list[str] = []
    looks = 0
    watching = True

    def look(event: str, _args: t.Any) -> None:
        nonlocal looks, watching
        if not watching or event not in {"open", "os.rename", "os.chmod", "os.chown", "shutil.copyfile"}:
            return
        watching = False  # the check opens files itself
        looks += 1
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.stat().st_mode & 0o077 and path.read_text(encoding="utf-8") == SECRET:
                readable.append(f"{event}: {path.name}")
        watching = True

    old = os.umask(0o022)
    sys.addaudithook(look)
    try:
        run(**wanted)
    finally:
        watching = False
        os.umask(old)
    assert looks > 3
    assert readable == []
    assert (tmp_path / "folder/deeper/key").read_text(encoding="utf-8") == SECRET


def problem_of_path(_tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][1]["path"] = "folder/conf"
    return "files[1] (folder/conf): the path does not begin with '/'"


def problem_of_two_names_of_a_file(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][2]["path"] = f"/{tmp_path}//folder/./deeper/key"
    return f"files[2] ({tmp_path}/folder/deeper/key): files[0] has the same path"


def problem_of_a_file_that_is_a_directory_too(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][2]["path"] = f"{tmp_path}/folder"
    return f"files[2] ({tmp_path}/folder): directories[1] has the same path"


def problem_of_a_missing_directory(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["path"] = f"{tmp_path}/elsewhere/unit"
    return f"files[3] ({tmp_path}/elsewhere/unit): there is no directory {tmp_path}/elsewhere, neither"


def problem_of_a_missing_directory_above(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    del wanted["directories"][1]
    return f"directories[0] ({tmp_path}/folder/deeper): there is no directory {tmp_path}/folder, neither"


def problem_of_a_file_in_place_of_a_directory(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["directories"].append({"path": f"{tmp_path}/there"})
    return f"directories[2] ({tmp_path}/there): is there, and is not a directory"


def problem_of_owner(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["owner"] = "nobody-has-this-name"
    return f"files[3] ({tmp_path}/unit): owner 'nobody-has-this-name' does not exist on this host"


def problem_of_group(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["directories"][0]["group"] = "nobody-has-this-name"
    return f"directories[0] ({tmp_path}/folder/deeper): group 'nobody-has-this-name' does not exist on this host"


def problem_of_a_mode_that_is_a_number(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["mode"] = 640
    return f"files[3] ({tmp_path}/unit): the mode 640 is no octal number as text"


def problem_of_mode(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["directories"][0]["mode"] = "u=rwX"
    return f"directories[0] ({tmp_path}/folder/deeper): the mode 'u=rwX' is no octal number as text"


def problem_of_text(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["content"] = "\udc80"
    return f"files[3] ({tmp_path}/unit): the content is not UTF-8"


def problem_of_a_file_that_is_there(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["path"] = f"{tmp_path}/latin"
    return f"{tmp_path}/latin, line 2: not UTF-8"


def problem_of_a_link(tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["path"] = f"{tmp_path}/link"
    return f"{tmp_path}/link is a symbolic link"


def problem_of_options(_tmp_path: Path, wanted: dict[str, t.Any]) -> str:
    wanted["files"][3]["contents"] = ""
    return "Unsupported parameters"


PROBLEMS = [value for name, value in list(globals().items()) if name.startswith("problem_of_")]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_everything_is_validated_before_anything_changes(run, wanted, tmp_path, problem):
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "latin").write_bytes(b"\n\xff\n")
    before = identity(tmp_path)
    why = problem(tmp_path, wanted)
    result = run(**wanted)
    assert (result["failed"], result["changed"], result["changed_paths"]) == (True, False, [])
    assert why in result["msg"]
    assert identity(tmp_path) == before


def test_all_problems_are_reported_at_once(run, wanted, tmp_path):
    problems = [problem(tmp_path, wanted) for problem in (problem_of_owner, problem_of_mode, problem_of_path)]
    result = run(**wanted)
    assert [problem for problem in problems if problem not in result["msg"]] == []


def test_the_next_run_completes_a_failed_one(run, wanted, tmp_path, monkeypatch):
    def mkstemp(prefix: str, **options: t.Any) -> t.Any:
        if "hosts" in prefix:
            raise OSError(28, "No space left on device")
        return real(prefix=prefix, **options)

    real = locked_file.tempfile.mkstemp
    with monkeypatch.context() as full:
        full.setattr(locked_file.tempfile, "mkstemp", mkstemp)
        failed = run(**wanted)
    done = [f"{tmp_path}/{name}" for name in ("folder", "folder/deeper", "folder/deeper/key")]
    assert failed["failed"]
    assert failed["msg"] == f"{tmp_path}/folder/deeper/hosts was not changed: No space left on device"
    assert (failed["changed"], failed["changed_paths"]) == (True, done)
    assert sorted(identity(tmp_path)) == done
    rest = [f"{tmp_path}/{name}" for name in ("folder/deeper/hosts", "folder/conf", "unit")]
    assert run(**wanted)["changed_paths"] == rest


@pytest.mark.parametrize("call", ["mkdir", "lchown"])
def test_a_directory_that_cannot_be_created_is_named(run, wanted, tmp_path, monkeypatch, call):
    def refuse(*_args: object) -> t.NoReturn:
        raise PermissionError(1, "Operation not permitted")

    wanted["directories"][1]["owner"] = "1"
    monkeypatch.setattr(os, call, refuse)
    result = run(**wanted)
    assert result["failed"]
    assert f"{tmp_path}/folder" in result["msg"]
    assert "deeper" not in result["msg"]


def test_a_link_to_a_directory_is_followed(run, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    options = {
        "directories": [{"path": f"{tmp_path}/link", "mode": "0750"}],
        "files": [
            {"path": f"{tmp_path}/link/a", "content": "shown to all"},
            {"path": f"{tmp_path}/real/b", "content": "shown to all"},
        ],
    }
    assert len(run(**options)["changed_paths"]) == 3
    assert state(tmp_path / "real") == {"a": (0o600, "shown to all"), "b": (0o600, "shown to all")}
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o750
    assert run(**options)["changed_paths"] == []


def test_new_files_are_private_by_default(run, tmp_path):
    files = [{"path": f"{tmp_path}/folder/file", "content": "shown to all"}]
    old = os.umask(0o022)
    try:
        run(directories=[{"path": f"{tmp_path}/folder"}], files=files)
    finally:
        os.umask(old)
    assert state(tmp_path) == {"folder": (0o700, ""), "folder/file": (0o600, "shown to all")}


def test_waiting_for_a_locked_directory_has_a_time_limit(run, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(locked_file, "LOCK_TIMEOUT", 0.3)
    run(**wanted)
    wanted["files"][1]["content"] = "other"
    descriptor = os.open(tmp_path / "folder/deeper", os.O_RDONLY)
    try:
        locked_file.fcntl.flock(descriptor, locked_file.fcntl.LOCK_EX)
        assert "is held by another run" in run(**wanted)["msg"]
    finally:
        os.close(descriptor)
    assert run(**wanted)["changed"]


# A validation command that rejects a text with "bad" in it, and records its input.
LOOK = """
echo "$0: $(stat --format=%a "$0") $(cat "$0")" >> "$1"
if grep --quiet bad "$0"; then echo "$0: line 1 is bad" >&2; exit 3; fi
"""


def looked_at(tmp_path, *contents: str) -> list[dict[str, t.Any]]:
    """Three files, the second of which is validated before it is in place."""
    files = [{"path": f"{tmp_path}/{name}", "content": text} for name, text in zip("abc", contents, strict=True)]
    files[1]["validate"] = ["sh", "-c", LOOK, "%s", f"{tmp_path}/seen"]
    return files


def test_a_new_text_is_validated_before_it_is_in_place(run, tmp_path):
    assert run(files=looked_at(tmp_path, "a\n", "good\n", "c\n"))["changed"]
    [seen] = (tmp_path / "seen").read_text(encoding="utf-8").splitlines()
    assert seen.startswith(f"{tmp_path}/.b.")
    assert seen.endswith(": 600 good")
    assert not list(tmp_path.glob(".b.*"))


def test_a_text_is_validated_if_it_or_an_earlier_one_changes(run, tmp_path):
    def times(**options: t.Any) -> int:
        before = len((tmp_path / "seen").read_text(encoding="utf-8").splitlines())
        run(**options)
        return len((tmp_path / "seen").read_text(encoding="utf-8").splitlines()) - before

    (tmp_path / "seen").touch()
    assert times(files=looked_at(tmp_path, "a", "good", "c"), check=True) == 0
    assert times(files=looked_at(tmp_path, "a", "good", "c")) == 1
    assert times(files=looked_at(tmp_path, "a", "good", "c")) == 0
    assert times(files=looked_at(tmp_path, "a", "good", "another")) == 0
    assert times(files=looked_at(tmp_path, "another", "good", "another")) == 1


def test_an_invalid_text_restores_all_files(run, tmp_path):
    run(files=looked_at(tmp_path, "a", "good", "c"))
    (tmp_path / "seen").write_text("", encoding="utf-8")
    (tmp_path / "a").chmod(0o640)
    before = state(tmp_path)
    failed = run(files=looked_at(tmp_path, "another", "bad", "another"))
    (tmp_path / "seen").write_text("", encoding="utf-8")
    assert failed["failed"]
    assert failed["msg"] == f"{tmp_path}/b was not changed: it is not valid: {tmp_path}/b: line 1 is bad"
    assert (failed["changed"], failed["changed_paths"]) == (False, [])
    assert state(tmp_path) == before


def test_an_invalid_text_removes_new_files(run, tmp_path):
    files = looked_at(tmp_path, "a", "good", "bad")
    files[2]["validate"] = ["false"]
    assert run(files=files)["msg"] == f"{tmp_path}/c was not changed: it is not valid: false ended with 1"
    assert sorted(state(tmp_path)) == ["seen"]
