# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules mosquitto_acls and mosquitto_acls_info, run as Ansible runs them, on real files."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.modules import mosquitto_acls, mosquitto_acls_info

ZUUL = [{"name": "zuul", "rules": [{"topic": "zuul/#", "access": "write"}]}]


@pytest.fixture
def run(tmp_path, capsys):
    """Run the module on the file `acl`, or on another file, and return its result."""

    def run_module(*, module: t.Any = mosquitto_acls, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        args = {"path": str(tmp_path / "acl"), **options}
        args |= {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args(args), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


@pytest.fixture
def acl(tmp_path) -> Path:
    return tmp_path / "acl"


def test_rules_are_added_kept_and_replaced(run, acl):
    first = run(anonymous=[{"topic": "#"}], users=ZUUL)
    assert (first["changed"], first["added"]) == (True, ["anonymous: read #", "user zuul: write zuul/#"])
    assert acl.read_text() == "topic read #\n\nuser zuul\ntopic write zuul/#\n"
    assert not run(anonymous=[{"topic": "#"}], users=ZUUL)["changed"]
    assert not run(users=ZUUL)["changed"]
    other = run(users=[{"name": "zuul", "rules": [{"topic": "ci/#", "access": "write"}]}])
    assert (other["added"], other["removed"]) == (["user zuul: write ci/#"], ["user zuul: write zuul/#"])
    assert run(users=[{"name": "zuul", "state": "absent"}])["removed"] == ["user zuul: write ci/#"]
    assert acl.read_text() == "topic read #\n"


def test_check_mode_predicts_and_writes_nothing(run, acl):
    for options in ({"users": ZUUL}, {"users": [{"name": "zuul", "state": "absent"}], "anonymous": [{"topic": "a"}]}):
        before = acl.read_text() if acl.exists() else None
        predicted = run(check=True, **options)
        assert (acl.read_text() if acl.exists() else None) == before
        real = run(**options)
        for key in ("changed", "added", "removed", "pointless", "diff"):
            assert predicted[key] == real[key]
        assert real["changed"]
        assert real["diff"][0]["after"] == acl.read_text()


def test_check_mode_needs_no_directory(run, tmp_path):
    missing = str(tmp_path / "missing/acl")
    assert run(path=missing, users=ZUUL, owner="nobody-has-this-name", check=True)["changed"]
    result = run(path=missing, users=ZUUL)
    assert "No such file or directory" in result["msg"]
    assert missing in result["msg"]


WRITE = [{"topic": "a", "access": "write"}]


@pytest.mark.parametrize(
    ("existing", "options", "rule"),
    [
        ("", {"anonymous": WRITE}, "anonymous[0]: 'write a'"),
        ("", {"patterns": WRITE}, "patterns[0]: 'write a'"),
        ("", {"patterns": [{"topic": "a/%c", "access": "readwrite"}]}, "patterns[0]: 'readwrite a/%c'"),
    ],
)
def test_a_rule_for_anonymous_publishing_must_be_allowed(run, acl, existing, options, rule):
    acl.write_text(existing)
    result = run(**options)
    assert result["failed"]
    assert rule in result["msg"]
    assert "publish, which allow_anonymous_publish does not allow" in result["msg"]
    assert acl.read_text() == existing
    assert run(**options, allow_anonymous_publish=True)["changed"]


@pytest.mark.parametrize("existing", ["topic a", "pattern write #"])
def test_an_unmanaged_rule_for_anonymous_publishing_causes_a_warning(run, acl, existing):
    acl.write_text(f"{existing}\n")
    result = run(users=ZUUL)
    assert result["changed"]
    assert f"{acl}: lets clients without a name publish: {existing}" in json.dumps(result["warnings"])
    assert run(module=mosquitto_acls_info)["anonymous_publish"]


def test_pointless_rules_are_returned_with_a_warning(run, acl):
    acl.write_text("topic read a\ntopic read a/#\n")
    result = run(users=ZUUL)
    assert result["pointless"] == ["anonymous: 'topic read a': 'read a/#' allows it already"]
    assert f"{acl}: {result['pointless'][0]}" in json.dumps(result["warnings"])
    assert run(module=mosquitto_acls_info)["pointless"] == result["pointless"]


def test_info_returns_arguments_of_mosquitto_acls(run, acl):
    acl.write_text("topic read #\ntopic deny x\nuser zuul\ntopic zuul/#\npattern read own/%u\n")
    info = run(module=mosquitto_acls_info)
    assert {key: info[key] for key in info if key not in ("invocation", "warnings")} == {
        "changed": False,
        "exists": True,
        "anonymous": [{"topic": "#", "access": "read"}, {"topic": "x", "access": "deny"}],
        "users": [{"name": "zuul", "rules": [{"topic": "zuul/#", "access": "readwrite"}]}],
        "patterns": [{"topic": "own/%u", "access": "read"}],
        "anonymous_publish": False,
        "pointless": [],
    }
    rules = {key: info[key] for key in ("anonymous", "users", "patterns")}
    assert not run(**rules, prune=True)["changed"]
    acl.unlink()
    assert run(module=mosquitto_acls_info)["exists"] is False
    assert run(**rules, prune=True)["changed"]
    again = run(module=mosquitto_acls_info)
    assert {key: again[key] for key in rules} == rules


@pytest.mark.parametrize("module", [mosquitto_acls, mosquitto_acls_info])
@pytest.mark.parametrize("name", ["zuul", "topic ", "topic x ", "topic read ", "pattern read # ", "pattern \t"])
def test_a_password_file_is_rejected_and_not_quoted(run, acl, module, name):
    acl.write_text(f"{name}:$7$101$U2FsdFNhbHRTYWx0$SGFz+Gh#SGFzaA==\n")
    result = run(module=module)
    assert "acl, line 1: " in result["msg"]
    assert "$101$" not in json.dumps(result)  # not a number alone, which may be in the name of a temporary directory
    assert "SGFz" not in json.dumps(result)


@pytest.mark.parametrize("module", [mosquitto_acls, mosquitto_acls_info])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"topic read a\nuser\n", "acl, line 2: there is no name after 'user'"),
        (b"topic read a\r\n", "acl, line 1: it ends in CR LF"),
        (b"# \xff\n", "acl, line 1: not UTF-8"),
    ],
)
def test_an_invalid_file_is_not_changed(run, acl, module, content, why):
    acl.write_bytes(content)
    result = run(module=module)
    assert result["failed"]
    assert why in result["msg"]
    assert acl.read_bytes() == content
