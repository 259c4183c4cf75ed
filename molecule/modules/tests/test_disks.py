# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""If a file cannot be written, it stays unchanged and complete, and the module reports the error."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

FOLDER = "/srv/disk"
# The file systems: the command that makes each, and the system's error message for a write.
DISKS = {
    "read-only": (
        f"mount --bind {FOLDER} {FOLDER} && mount --options remount,bind,ro {FOLDER}",
        "Read-only file system",
    ),
    "full": (f"dd if=/dev/zero of={FOLDER}/rest bs=1k 2>/dev/null; test -s {FOLDER}/rest", "No space left on device"),
}
USERS = [{"name": f"user-{number}", "password": f"only-for-tests-{number}"} for number in range(100)]
MODULES = {
    "mosquitto_users": ("# accounts\n", {"users": USERS}),
    "mosquitto_acls": ("# rules\n", {"users": [{"name": user["name"], "rules": [{"topic": "a/#"}]} for user in USERS]}),
}


@pytest.fixture(scope="module")
def host() -> Host:
    name = AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"]).get_hosts("broker")[0]
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture
def disk(host: Host) -> t.Iterator[None]:
    """A small file system."""
    host.check_output(f"mkdir --parents {FOLDER} && mount --types tmpfs --options size=8k tmpfs {FOLDER}")
    yield
    host.check_output(f"while umount {FOLDER} 2>/dev/null; do :; done; rmdir {FOLDER}")


def run(host: Host, module: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result of a module on the host."""
    command = ["ansible", host.backend.get_hostname(), "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]
    command += ["--module-name", f"opendev.firehose.{module}", "--args", json.dumps(arguments)]
    settings = {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    settings["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.json"  # and no callback that prints something else
    found = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=False)
    [play] = json.loads(found.stdout)["plays"]
    [result] = play["tasks"][0]["hosts"].values()
    return result


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", DISKS)
def test_a_file_that_cannot_be_written_is_not_changed(host: Host, kind: str, module: str) -> None:
    script, reason = DISKS[kind]
    before, arguments = MODULES[module]
    path = f"{FOLDER}/file"
    host.check_output("printf %%s %s > %s", before, path)
    host.check_output(script)
    result = run(host, module, {"path": path, **arguments})
    assert result.get("failed"), result
    assert path in result["msg"]
    assert reason in result["msg"]
    assert host.file(path).content_string == before
    assert set(host.file(FOLDER).listdir()) <= {"file", "rest"}
