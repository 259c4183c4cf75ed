# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible prints no warning except those about the unreachable package repository."""

from __future__ import annotations

import os
import pathlib
import re


def test_ansible_printed_only_the_expected_warnings() -> None:
    log = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.log").read_text(encoding="utf-8")
    for play in ("Prepare brokers", "Set up brokers", "Set up germqtt towards a broker on another host"):
        assert f"PLAY [{play}]" in log
    warned = [line.partition("WARNING]: ")[2] for line in log.splitlines() if "WARNING]" in line]
    assert [line for line in warned if not re.search("update cache|refresh the cache", line)] == []
    assert len(warned) == 4  # for each of two attempts on one host
