# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook left on a host."""

from __future__ import annotations

import itertools

import pytest
from firehose_testing.fixtures import Firehoses
from testinfra.host import Host

testinfra_hosts = ["ansible://firehose"]

# files with secrets, and who has to read them
SECRETS = {
    "/etc/mosquitto/live/files/etc/mosquitto/passwd": "mosquitto",
    "/etc/mosquitto/live/files/etc/mosquitto/acl": "mosquitto",
    "/etc/mosquitto/mosquitto.conf": "mosquitto",
    "/etc/mosquitto-public/live/mosquitto.conf": "mosquitto-public",
    "/etc/mosquitto-public/mosquitto.conf": "mosquitto-public",
    "/etc/germqtt/germqtt.conf": "germqtt",
    "/etc/germqtt/.ssh/id_germqtt": "germqtt",
}
# files with what the brokers know each other by, which only root reads; the brokers have copies
BETWEEN_BROKERS = ["/etc/mosquitto/firehose-relay.password", "/etc/mosquitto-public/client-id"]
# and their users
BROKERS = {"mosquitto": "mosquitto", "mosquitto@public": "mosquitto-public"}
CAP_NET_BIND_SERVICE = 1 << 10


def status_of(host: Host, unit: str) -> dict[str, str]:
    """What the kernel says of a unit's main process."""
    pid = host.check_output("systemctl show --property MainPID --value %s", unit)
    lines = host.file(f"/proc/{pid}/status").content_string.splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}


def test_low_ports_need_a_right_here(host: Host) -> None:
    assert host.sysctl("net.ipv4.ip_unprivileged_port_start") == 1024


@pytest.mark.parametrize("unit", [*BROKERS, "germqtt"])
def test_service_runs_now_and_after_a_boot(host: Host, unit: str) -> None:
    service = host.service(unit)
    assert service.is_running, host.run("journalctl --no-pager --lines 50 --unit %s", unit).stdout
    assert service.is_enabled
    assert host.check_output("systemctl show --property Restart --value %s", unit) == "always"


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


@pytest.mark.parametrize(
    ("user", "port"),
    [
        *itertools.product(["mosquitto-public"], [1883, 80, 8883, 443]),
        ("mosquitto", 1884),
        ("mosquitto", 8084),
    ],
)
def test_port_belongs_to_the_broker(host: Host, user: str, port: int) -> None:
    ss = f"ss --no-header --listening --tcp --numeric --extended 'sport = :{port}'"
    listeners = host.check_output(ss).splitlines()
    uid = host.check_output("id --user %s", user)
    assert any(f"0.0.0.0:{port} " in line or f"*:{port} " in line for line in listeners)
    assert [line for line in listeners if f" uid:{uid} " not in line] == []


def test_passwords_pass_through_a_port_that_local_users_cannot_bind(host: Host) -> None:
    """germqtt and the public broker connect to it. A local user cannot bind it while the accounts broker restarts."""
    ss = "ss --no-header --tcp --numeric --extended state established dst 127.0.0.1:%s"
    listeners = host.check_output("ss --no-header --listening --tcp --numeric --extended 'sport = :884'").splitlines()
    assert [line for line in listeners if "127.0.0.1:884 " not in line] == []
    assert f" uid:{host.check_output('id --user mosquitto')} " in "".join(listeners)
    connected = {port: host.check_output(ss, port) for port in ("884", "1884")}
    for user in ("germqtt", "mosquitto-public"):
        uid = host.check_output("id --user %s", user)
        assert f" uid:{uid} " in connected["884"], user
        assert f" uid:{uid} " not in connected["1884"], user
    bind = "import socket, sys; socket.socket().bind(('127.0.0.2', int(sys.argv[1])))"
    tried = {port: host.run("runuser --user nobody -- python3 -c %s %s", bind, port) for port in ("884", "41884")}
    assert "Permission denied" in tried["884"].stderr
    assert tried["41884"].succeeded, tried["41884"].stderr


@pytest.mark.parametrize(("unit", "user"), BROKERS.items())
def test_broker_has_one_capability(host: Host, unit: str, user: str) -> None:
    status = status_of(host, unit)
    assert set(status["Uid"].split()) == {host.check_output("id --user %s", user)}
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == CAP_NET_BIND_SERVICE, kind
    assert status["NoNewPrivs"] == "1"


def test_germqtt_has_no_capability(host: Host) -> None:
    status = status_of(host, "germqtt")
    assert set(status["Uid"].split()) == {host.check_output("id --user germqtt")}
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize(("unit", "most"), [("mosquitto", 1.7), ("mosquitto@public", 1.7), ("germqtt", 1.2)])
def test_service_is_confined_while_it_works(host: Host, unit: str, most: float) -> None:
    report = host.check_output("systemd-analyze security --no-pager %s.service", unit).splitlines()
    assert "Overall exposure level" in report[-1]
    assert float(report[-1].rpartition(": ")[2].split()[0]) <= most


@pytest.mark.parametrize("path", SECRETS)
def test_secret_is_for_its_service_alone(host: Host, path: str) -> None:
    assert host.run("runuser --user %s -- cat %s", SECRETS[path], path).succeeded
    for stranger in {*SECRETS.values(), "nobody"} - {SECRETS[path]}:
        assert host.run("runuser --user %s -- cat %s", stranger, path).failed, stranger


@pytest.mark.parametrize(("taken_over", "other"), itertools.permutations(BROKERS, 2))
def test_a_broker_that_was_taken_over_reaches_nothing_of_the_other(host: Host, taken_over: str, other: str) -> None:
    pid, name = host.check_output("systemctl show --property MainPID --value %s", other), other.replace("@", "-")

    def tried(user: str) -> list[str]:
        """What a process of a user can do, with the capability of the unit."""
        ways = {
            "end it": f"kill -0 {pid}",
            "read its memory": f"head --bytes 0 /proc/{pid}/mem",
            "write its memory": f": >>/proc/{pid}/mem",
            "see its files": f"ls /proc/{pid}/root/ /proc/{pid}/fd",
            "read what it reads": f"cat /etc/{name}/live/mosquitto.conf",
            "read its messages": f"ls /var/lib/{name} && cat /var/lib/{name}/mosquitto.db",
            "write its messages": f"touch /var/lib/{name}/x",
            "use its directory": f"touch /run/{name}/x && rm /run/{name}/x",
        }
        drop = "setpriv --reuid %s --regid %s --init-groups --inh-caps -all,+net_bind_service --ambient-caps -all,+net_bind_service sh -c %s"
        return [what for what, command in ways.items() if host.run(drop, user, user, command).succeeded]

    assert tried(BROKERS[taken_over]) == []
    # The same attempts by its own user show that they are ones.
    assert {"end it", "read what it reads", "use its directory"} <= set(tried(BROKERS[other]))


@pytest.mark.parametrize("broker", ["mosquitto", "mosquitto-public"])
def test_what_root_writes_back_is_for_root_alone(host: Host, broker: str) -> None:
    """A broker that was taken over owns its copies. Root's own, and what root makes them from, it neither reads nor changes."""
    for path in ("passwd", "acl", "live/kept.json"):
        status = host.check_output("stat --format '%%U %%a' %s", f"/etc/{broker}/{path}")
        assert status in ("root 600", "root 400"), path
    assert "unit" not in host.check_output("find /etc/%s/live/files -name '*.service' -printf unit", broker)
    assert host.check_output("ls /etc/%s/sets", broker).splitlines() == [
        host.check_output("basename $(readlink /etc/%s/live)", broker)
    ]


@pytest.mark.parametrize("path", BETWEEN_BROKERS)
def test_what_the_brokers_know_each_other_by_is_for_root_alone(host: Host, path: str) -> None:
    file = host.file(path)
    assert (file.user, file.mode) == ("root", 0o600)
    word = file.content_string.strip()
    assert len(word) >= 32
    readable = host.run("grep --recursive --files-with-matches %s /etc /run --exclude-dir=sets", word).stdout.split()
    assert [name for name in readable if not name.startswith(path)] == []
    # The client id stands in the log of the broker, which is for root and the groups adm and systemd-journal.
    assert word not in host.check_output("ps axww" if "client-id" in path else "journalctl --no-pager; ps axww")


def test_the_public_broker_has_a_limit_of_memory(host: Host) -> None:
    assert host.check_output("systemctl show --property MemoryMax --value mosquitto@public") == str(2**30)


def test_no_password_is_written_down_in_clear(host: Host, firehoses: Firehoses) -> None:
    places = host.check_output(
        "journalctl --no-pager; cat /etc/mosquitto/* /etc/mosquitto-public/* /var/log/mosquitto/* 2>/dev/null; ps axww"
    )
    accounts = firehoses[host.backend.get_hostname()].publishers
    assert "mosquitto" in places
    assert [name for name, account in accounts.items() if account.password and account.password in places] == []
