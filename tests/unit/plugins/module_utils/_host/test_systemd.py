# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action that a service needs, from its systemd properties."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import systemd

STARTED = "Mon 2026-11-23 22:38:09.421442 UTC"
AT = 1795473489.421442


def test_timestamps():
    assert systemd.parse_timestamp(STARTED) == pytest.approx(AT)
    assert systemd.parse_timestamp(STARTED.replace("Mon", "whatever")) == pytest.approx(AT)
    assert systemd.parse_timestamp("") is None
    assert systemd.parse_timestamp("n/a") is None


def test_properties():
    assert systemd.parse_properties("A=1\nB=x=y\nC=\n") == {"A": "1", "B": "x=y", "C": ""}


@pytest.mark.parametrize("line_break", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_status_text_cannot_be_another_property(line_break):
    said = f"x{line_break}MainPID=1"
    assert systemd.parse_properties(f"MainPID=7\nStatusText={said}\n") == {"MainPID": "7", "StatusText": said}


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
    assert action == systemd.needed_action(
        properties, restart_files_changed=restart_files, reload_files_changed=reload_files, last_read=last_read
    )


UNIT = systemd.parse_unit(
    "/etc/systemd/system/a.service",
    """[Unit]
User=nobody
[Service]
# ExecStart=/bin/false
ExecStartPost=/bin/cp x y
ExecStart=/usr/sbin/mosquitto \\
  -c "/etc/a b.conf"
ExecReload=+/usr/local/sbin/mosquitto-apply --reload
User=mosquitto
""",
)


def drop_in(*lines):
    return systemd.parse_unit("/run/systemd/system/a.service.d/x.conf", "\n".join(["[Service]", *lines]))


def test_settings_of_a_unit():
    assert UNIT.settings == [
        ("ExecStartPost", "/bin/cp x y"),
        ("ExecStart", '/usr/sbin/mosquitto  -c "/etc/a b.conf"'),
        ("ExecReload", "+/usr/local/sbin/mosquitto-apply --reload"),
        ("User", "mosquitto"),
    ]


@pytest.mark.parametrize(
    ("lines", "overridden"),
    [
        (["MemoryMax=1G", "Nice=5", "Environment=A=b"], []),
        (["ExecStartPost=-/bin/true", "ExecStop=/bin/true"], []),
        (["User=mosquitto", "ExecReload=+/usr/local/sbin/mosquitto-apply --reload"], []),
        (["User=root"], ["User"]),
        (["ExecStart=", "ExecStart=/usr/sbin/mosquitto -c /etc/mosquitto/mosquitto.conf"], ["ExecStart"]),
        (["ExecReload=/bin/kill -HUP $MAINPID"], ["ExecReload"]),
        (["ExecStartPost=", "User="], ["User", "ExecStartPost"]),
        (["NotifyAccess=all"], ["NotifyAccess"]),
    ],
)
def test_drop_ins_that_override_a_critical_setting(lines, overridden):
    problems = systemd.overrides(UNIT, [drop_in(*lines)])
    assert [problem.split(" ")[:3] for problem in problems] == [
        ["/run/systemd/system/a.service.d/x.conf", "overrides", name] for name in overridden
    ]


def test_the_directories_of_drop_ins():
    assert systemd.drop_in_names(["mosquitto@public.service"]) == [
        "mosquitto@public.service",
        "mosquitto@.service",
        "service",
    ]
    assert systemd.drop_in_names(["firehose-haproxy.service"]) == [
        "firehose-haproxy.service",
        "firehose-.service",
        "service",
    ]


SHOWN = {
    "NeedDaemonReload": "no",
    "FragmentPath": UNIT.path,
    # as systemd 252 writes it, without quotes
    "ExecStart": "{ path=/usr/sbin/mosquitto ; argv[]=/usr/sbin/mosquitto -c /etc/a b.conf ; ignore_errors=no ; pid=0 }",
    "ExecReload": "{ path=/x ; argv[]=/usr/local/sbin/mosquitto-apply --reload ; ignore_errors=no ; pid=0 }",
    "User": "mosquitto",
    "Group": "",
}


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({}, False),
        ({"ExecStart": SHOWN["ExecStart"].replace("/etc/a b.conf", '"/etc/a b.conf"')}, False),
        ({"NeedDaemonReload": "yes"}, True),
        ({"FragmentPath": "/lib/systemd/system/a.service"}, True),
        ({"ExecReload": "{ path=/bin/kill ; argv[]=/bin/kill -HUP $MAINPID ; ignore_errors=no ; pid=0 }"}, True),
        ({"ExecReload": f"{SHOWN['ExecReload']}\n{SHOWN['ExecReload']}"}, True),
        ({"User": "root"}, True),
    ],
)
def test_an_outdated_unit_is_detected(change, stale):
    assert systemd.is_stale({**SHOWN, **change}, UNIT) is stale


@pytest.mark.parametrize(
    ("running", "words", "same"),
    [
        ("/usr/sbin/mosquitto -c a", "/usr/sbin/mosquitto -c a", True),
        ("/usr/sbin/mosquitto -c b", "/usr/sbin/mosquitto -c a", False),
        ("/usr/sbin/mosquitto -p 1999 -c a", "/usr/sbin/mosquitto -c a", False),
        ("/usr/sbin/mosquitto -c a -v", "/usr/sbin/mosquitto -c a", False),
        ("/usr/bin/python3 -I /usr/local/bin/germqtt --foreground", "/usr/local/bin/germqtt --foreground", True),
        ("/usr/bin/python3 /usr/local/bin/other --foreground", "/usr/local/bin/germqtt --foreground", False),
        ("/usr/sbin/haproxy -sf 12 13 -x sockpair@4 -Ws -f a", "/usr/sbin/haproxy -Ws -f a", True),
        ("/usr/sbin/haproxy -sf 12 -Ws -f b", "/usr/sbin/haproxy -Ws -f a", False),
        ("", "/usr/sbin/mosquitto -c a", False),
    ],
)
def test_an_outdated_command_line_is_detected(running, words, same):
    assert systemd.runs_command(running.split(" "), words.split(" ")) is same


MAPS = """\
5572c9deb000-5572c9dfd000 r--p 00000000 00:e0 1745540                    /usr/sbin/mosquitto (deleted)
5572c9dfd000-5572c9e63000 r-xp 00012000 00:e0 1745540                    /usr/sbin/mosquitto (deleted)
7f0000000000-7f0000001000 r-xp 00012000 00:e0 1745541                    /usr/lib/x86_64-linux-gnu/libssl.so.3
7f0000001000-7f0000002000 r-xp 00012000 00:e0 1745542                    /usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)
7f0000002000-7f0000003000 r--p 00012000 00:e0 1745543                    /usr/lib/locale/locale-archive (deleted)
7f0000003000-7f0000004000 rwxp 00000000 00:01 1025                       /memfd:ffi (deleted)
7f0000004000-7f0000005000 rwxs 00000000 00:01 1026                       /dev/zero (deleted)
7f0000005000-7f0000006000 r-xp 00000000 00:01 1027                       /tmp/ffi1234 (deleted)
7f0000006000-7f0000007000 rwxp 00000000 00:00 0
7ffc0a1f2000-7ffc0a1f4000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_replaced_files_of_a_process_are_found():
    assert systemd.deleted_files(MAPS) == ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/sbin/mosquitto"]


@pytest.mark.parametrize(
    ("action", "reasons", "stale", "said"),
    [
        ("", [], False, "up to date"),
        ("", [], True, "needs a daemon-reload"),
        ("start", ["x"], True, "not running"),
        ("restart", [], False, "needs a restart"),
        ("restart", ["x", "y"], False, "needs a restart: x; y"),
        ("reload", [], True, "needs a reload"),
    ],
)
def test_the_description_of_a_service(action, reasons, stale, said):
    assert systemd.state(action, reasons, is_stale=stale) == said


def test_a_drop_in_of_a_container_manager_is_ignored(tmp_path, monkeypatch):
    """A drop-in with the same name in another place does."""
    generated, local, elsewhere = (
        tmp_path / path for path in ("run/service.d/zzz.conf", "run/service.d/local.conf", "etc/a.service.d/zzz.conf")
    )
    for path in (generated, local):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[Service]\nProtectProc=default\n", encoding="utf-8")
    monkeypatch.setattr(systemd, "OF_THE_CONTAINER", generated)
    folders = [str(tmp_path / "etc"), str(tmp_path / "run")]
    assert systemd._found_drop_ins(["a.service"], folders) == [local]
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("[Service]\nUser=root\n", encoding="utf-8")
    assert systemd._found_drop_ins(["a.service"], folders) == [local, elsewhere]
