# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service needs, from what systemd says of it."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils import _systemd

STARTED = "Mon 2026-11-23 22:38:09.421442 UTC"
AT = 1795473489.421442


def test_timestamps():
    assert _systemd.parse_timestamp(STARTED) == pytest.approx(AT)
    assert _systemd.parse_timestamp(STARTED.replace("Mon", "whatever")) == pytest.approx(AT)
    assert _systemd.parse_timestamp("") is None
    assert _systemd.parse_timestamp("n/a") is None


def test_properties():
    assert _systemd.parse_properties("A=1\nB=x=y\nC=\n") == {"A": "1", "B": "x=y", "C": ""}


@pytest.mark.parametrize("line_break", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_status_text_cannot_be_another_property(line_break):
    said = f"x{line_break}MainPID=1"
    assert _systemd.parse_properties(f"MainPID=7\nStatusText={said}\n") == {"MainPID": "7", "StatusText": said}


@pytest.mark.parametrize(
    ("state", "restart_files", "reload_files", "last_read", "action"),
    [
        ("active", AT - 1, AT - 1, 0, ""),
        ("active", AT + 1, AT - 1, 0, "restart"),
        ("active", AT + 1, AT + 1, 0, "restart"),
        ("active", AT - 1, AT + 1, 0, "reload"),
        ("active", AT - 1, AT + 1, AT + 2, ""),
        ("active", AT - 1, AT + 3, AT + 2, "reload"),
        ("active", AT + 1, AT - 1, AT + 2, "restart"),
        ("active", 0, 0, 0, ""),
        ("inactive", AT - 1, AT - 1, 0, "start"),
        ("failed", AT - 1, AT + 1, 0, "start"),
        ("activating", AT - 1, AT + 1, 0, "start"),
    ],
)
def test_needed_action(state, restart_files, reload_files, last_read, action):
    properties = {"ActiveState": state, "ExecMainStartTimestamp": STARTED}
    assert action == _systemd.needed_action(
        properties, restart_files_changed=restart_files, reload_files_changed=reload_files, last_read=last_read
    )
