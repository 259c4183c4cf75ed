# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables to which a failed Gerrit login is attributed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import gerrit

LOGIN = gerrit.Login("review.example.org", 29418, "germqtt")
CHANGED = """@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
The fingerprint for the ED25519 key sent by the remote host is
SHA256:uNiVztksCsDhcc0u9e8BrKXkyqEK0H4uzKQYQZfZzSk.
Host key for [review.example.org]:29418 has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("words", "logged_in", "says"),
    [
        (CHANGED, False, ["germqtt_gerrit_host_keys: ", "SHA256:uNiV", "ssh-keyscan -p 29418 review.example.org"]),
        (
            "No ED25519 host key is known for x and you have requested strict checking.\nHost key verification failed.",
            False,
            ["germqtt_gerrit_host_keys: "],
        ),
        ("Unable to negotiate with x: no matching host key type found. Their offer: ssh-rsa", False, ["_host_keys: "]),
        ("germqtt@x: Permission denied (publickey).", False, ["germqtt_ssh_private_key, germqtt_gerrit_user: ", "-y"]),
        ("fatal: Permission denied: stream events", True, ["germqtt_gerrit_user: ", "Stream Events"]),
        ("connect to host x port 29418: Connection refused", False, ["germqtt_gerrit_host, germqtt_gerrit_port: "]),
        ("Could not resolve hostname x", False, ["germqtt_gerrit_host, germqtt_gerrit_port: ", "resolve"]),
        ("", False, ["germqtt_gerrit_host, germqtt_gerrit_port: ", "no answer"]),
    ],
)
def test_a_failure_names_the_variable_and_the_remedy(words, logged_in, says):
    found = LOGIN.problem(words, logged_in)
    assert all(each in found for each in says)
    assert found.count("\n") <= 2


def test_the_last_lines_are_joined_to_one_printable_line():
    assert gerrit.last_lines("one\ntwo\x1b[31m\n\nthree\u2028x\nfour\n", 3) == "two[31m; threex; four"


def test_known_hosts_has_the_host_key_alias_of_ssh():
    assert LOGIN.known_hosts(["ssh-ed25519 AAAA root@review"]) == "[review.example.org]:29418 ssh-ed25519 AAAA\n"
    assert "HostKeyAlias=[review.example.org]:29418" in LOGIN.command("/run/x")


def test_the_sandbox_matches_the_unit_of_germqtt():
    unit = (Path(__file__).parents[5] / "roles/germqtt/templates/germqtt.service.j2").read_text(encoding="utf-8")
    lines = unit[unit.index("CapabilityBoundingSet=") : unit.index("\n\n[Install]")].split("\n")
    assert lines == [*gerrit.SANDBOX]
