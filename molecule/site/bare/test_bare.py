# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode ran for the whole site before anything was installed, and changed nothing."""

from __future__ import annotations

import re

import pytest
from firehose_testing.site import EPHEMERAL
from testinfra.host import Host

testinfra_hosts = ["ansible://firehose", "ansible://broker", "ansible://germqtt"]

# Files that Ansible and apt keep for themselves, and logs. The directories are their parents and mount points.
OWN = re.compile(
    r"/root/\.ansible(/.*)?|/var/cache/apt(/(src)?pkgcache\.bin)?|/var/log/apt(/eipp\.log\.xz)?|/var/log/journal/.*"
)
ABOVE = {"/", "/root", "/tmp", "/run", "/var", "/var/cache", "/var/log"}


def test_check_mode_ran_on_each_host(host: Host) -> None:
    log = (EPHEMERAL / "ansible.log").read_text(encoding="utf-8")
    [recap] = re.findall(rf"INFO\| {host.backend.get_hostname()} +: ok=(\d+) +changed=(\d+) .* failed=0 ", log)[-1:]
    assert int(recap[1]) > 3, "it says little of what it would do"
    assert "PLAY [Set up the wiki]" in log


@pytest.mark.parametrize("package", ["haproxy", "mosquitto", "python3-venv"])
def test_nothing_is_installed(host: Host, package: str) -> None:
    assert not host.package(package).is_installed


def test_check_mode_changed_no_file(host: Host) -> None:
    changed = set(host.check_output("find / -xdev -cnewer /run/prepared").splitlines())
    assert changed & {"/root/.ansible", "/root/.ansible/tmp"}, "not even by Ansible itself"
    assert sorted(path for path in changed - ABOVE if not OWN.fullmatch(path)) == []
