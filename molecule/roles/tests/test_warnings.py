# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible has nothing to warn of."""

from __future__ import annotations

import os
import pathlib


def test_ansible_warned_of_nothing() -> None:
    log = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.log").read_text(encoding="utf-8")
    for play in ("Prepare brokers", "Set up brokers", "Set up germqtt towards a broker on another host"):
        assert f"PLAY [{play}]" in log
    assert [line for line in log.splitlines() if "WARNING]" in line] == []
