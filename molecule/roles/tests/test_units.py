# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker that runs with an outdated unit or program is out of date, and drop-ins that weaken the unit are rejected."""

from __future__ import annotations

import typing as t

import pytest
import testinfra
from firehose_testing.brokers import Broker, Brokers, Role, host_in

SERVICE = "Start, reload or restart the brokers"
PROGRAM = "/usr/sbin/mosquitto"
# as a package upgrade does
REPLACE = "cp --preserve {0} {0}.dpkg-new && mv {0}.dpkg-new {0}"
DROP_IN = "/etc/systemd/system/mosquitto.service.d/{}.conf"
OLD_RELOAD = "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n"


def write(broker: Broker, path: str, text: str) -> None:
    broker.host.check_output("mkdir --parents %s && printf '%%s' %s >%s", path.rpartition("/")[0], text, path)
    broker.host.check_output("systemctl daemon-reload")


def remove(broker: Broker, path: str) -> None:
    broker.host.check_output("rm --force %s && systemctl daemon-reload", path)


def check(broker: Broker) -> str:
    return broker.host.check_output("mosquitto-apply --check").partition(": ")[2]


def test_a_run_restarts_a_broker_whose_program_was_replaced(brokers: Brokers, role: Role) -> None:
    """A drop-in that overrides no critical setting stays in force."""
    role.ensure()
    before = brokers.each(lambda broker: broker.show("MainPID"))
    brokers.each(lambda broker: broker.host.check_output(REPLACE.format(PROGRAM)))
    said = f"restart (runs files that were replaced since it started: {PROGRAM})"
    assert brokers.each(check) == brokers.all(said)
    path = DROP_IN.format("local")
    brokers.each(lambda broker: write(broker, path, "[Service]\nMemoryMax=900M\nNice=1\nEnvironment=A=b\n"))
    try:
        run = role.repeat()
        assert run.worked, run.failures
        assert run.changed == brokers.all([SERVICE])
        assert not before.items() & brokers.each(lambda broker: broker.show("MainPID")).items()
        assert brokers.each(check) == brokers.all("up to date")
        assert brokers.each(lambda broker: broker.show("MemoryMax")) == brokers.all(str(900 * 2**20))
    finally:
        brokers.each(lambda broker: remove(broker, path))


@pytest.fixture
def old_reload(brokers: Brokers, role: Role) -> t.Iterator[None]:
    """Brokers with the drop-in of release 1.0.0, whose reload runs no trial."""
    role.ensure()
    path = DROP_IN.format("opendev-firehose")
    brokers.each(lambda broker: write(broker, path, OLD_RELOAD))
    yield
    brokers.each(lambda broker: remove(broker, path))


@pytest.mark.usefixtures("old_reload")
def test_the_drop_in_of_release_1_0_0_is_removed(brokers: Brokers) -> None:
    rules = "/etc/mosquitto/acl"

    def break_and_reload(broker: Broker) -> bool:
        broker.host.check_output("cp --preserve %s /run/acl && echo nonsense >>%s", rules, rules)
        try:
            return broker.host.run("systemctl reload mosquitto").rc == 0
        finally:
            broker.host.check_output("cp --preserve /run/acl %s", rules)

    for broker in brokers.values():
        assert check(broker) != "up to date"
        broker.host.check_output("mosquitto-apply")
        assert check(broker) == "up to date"
        assert not broker.host.file(DROP_IN.format("opendev-firehose")).exists
    assert brokers.each(break_and_reload) == brokers.all(False)


@pytest.mark.parametrize(
    ("path", "text", "setting"),
    [
        (DROP_IN.format("local"), OLD_RELOAD, "ExecReload"),
        ("/run/systemd/system/service.d/local.conf", "[Service]\nUser=root\n", "User"),
    ],
)
def test_a_drop_in_that_overrides_the_unit_is_named(
    brokers: Brokers, role: Role, path: str, text: str, setting: str
) -> None:
    role.recover()

    def run(broker: Broker) -> tuple[bool, bool]:
        write(broker, path, text)
        try:
            results = [broker.host.run(f"mosquitto-apply {option}") for option in ("--check", "", "--reload")]
        finally:
            remove(broker, path)
        named = all(f"{path} overrides {setting} of" in result.stderr for result in results)
        return all(result.rc == 1 for result in results), named

    assert brokers.each(run) == brokers.all((True, True))


def test_the_command_line_of_a_removed_drop_in_is_replaced(brokers: Brokers, role: Role) -> None:
    role.recover()
    path = DROP_IN.format("local")
    text = f"[Service]\nExecStart=\nExecStart={PROGRAM} -v -c /etc/mosquitto/live/mosquitto.conf\n"

    def run(broker: Broker) -> tuple[str, str]:
        write(broker, path, text)
        broker.host.check_output("systemctl restart mosquitto")
        remove(broker, path)
        before = check(broker)
        broker.host.check_output("mosquitto-apply")
        return before, check(broker)

    said = "restart (runs with another command line than that of its unit)"
    assert brokers.each(run) == brokers.all((said, "up to date"))


def test_a_drop_in_that_overrides_the_unit_of_germqtt_is_named(role: Role) -> None:
    name = host_in("bundled")
    host = testinfra.get_host(f"docker://{name}")
    folder = "/run/systemd/system/germqtt.service.d"
    host.check_output(f"mkdir --parents {folder} && printf '[Service]\\nUser=root\\n' >{folder}/local.conf")
    try:
        run = role.run(name)
    finally:
        host.check_output(f"rm -r {folder} && systemctl daemon-reload")
    assert run.failed_hosts == {name}
    assert f"germqtt.service cannot be used: {folder}/local.conf overrides User of" in run.failures[name][-1]
    pid = host.check_output("systemctl show --property MainPID --value germqtt")
    assert host.check_output("ps -o user= -p %s", pid) == "germqtt"
