# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a host after a run of the playbook."""

from __future__ import annotations

import itertools

from firehose_testing.fixtures import Firehoses
from firehose_testing.public import ACCOUNTS, HAPROXY, PUBLIC_PORTS, open_ports, public_units
from testinfra.host import Host

testinfra_hosts = ["ansible://firehose"]

CAP_NET_BIND_SERVICE = 1 << 10
HAPROXIES = (HAPROXY, ACCOUNTS)


def brokers(host: Host) -> dict[str, str]:
    """The units of all brokers, and their users. The directories are named like the users."""
    return {unit: unit.replace("@", "-") for unit in ("mosquitto", *public_units(host))}


def main_process(host: Host, unit: str) -> str:
    return host.check_output("systemctl show --property MainPID --value %s", unit)


def status_of(host: Host, process: str) -> dict[str, str]:
    """The kernel's status of a process."""
    lines = host.file(f"/proc/{process}/status").content_string.splitlines()
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}


def uid(host: Host, user: str) -> str:
    return host.check_output("id --user %s", user)


def test_low_ports_need_a_capability(host: Host) -> None:
    assert host.sysctl("net.ipv4.ip_unprivileged_port_start") == 1024


def test_there_is_one_public_broker_for_each_cpu(host: Host) -> None:
    listing = "systemctl list-units --plain --no-legend mosquitto.service 'mosquitto@*.service'"
    running = host.check_output(listing).splitlines()
    numbers = range(1, int(host.check_output("nproc")) + 1)
    wanted = {"mosquitto", *(f"mosquitto@{number}" for number in numbers)}
    assert {line.split()[0].removesuffix(".service") for line in running} == wanted == {*brokers(host)}


def test_services_run_now_and_after_a_boot(host: Host) -> None:
    services = [*brokers(host), *HAPROXIES, "germqtt"]
    for unit in [*services, *(f"{unit}.socket" for unit in HAPROXIES)]:
        service = host.service(unit)
        assert service.is_running, host.run("journalctl --namespace=* --no-pager --lines 50 --unit %s", unit).stdout
        assert service.is_enabled, unit
    restarts = {unit: host.check_output("systemctl show --property Restart --value %s", unit) for unit in services}
    assert restarts == dict.fromkeys(services, "always")


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_only_the_expected_ports_are_open(host: Host) -> None:
    """They are owned by systemd, which runs as root."""
    assert open_ports(host) == {port: {"0"} for port in [*PUBLIC_PORTS, 1884, 8084]}


def test_local_users_cannot_bind_the_ports_that_receive_passwords(host: Host) -> None:
    """germqtt connects to HAProxy; HAProxy and public brokers to the accounts broker. While it restarts, no local user can bind its port."""
    ss = "ss --no-header --tcp --numeric --extended state established dst 127.0.0.1:%s"
    for port in ("800", "884"):
        listeners = host.check_output("ss --no-header --listening --tcp --numeric 'sport = :%s'", port).splitlines()
        assert [line for line in listeners if f"127.0.0.1:{port} " not in line] == []
    connected = {port: host.check_output(ss, port) for port in ("800", "884", "1884")}
    _accounts_broker, *public = brokers(host).values()
    users = {"germqtt": "884", ACCOUNTS: "800", **dict.fromkeys(public, "800")}
    for user, port in users.items():
        assert [each for each, lines in connected.items() if f" uid:{uid(host, user)} " in lines] == [port], user
    bind = "import socket, sys; socket.socket().bind(('127.0.0.2', int(sys.argv[1])))"
    tried = {
        port: host.run("runuser --user nobody -- python3 -c %s %s", bind, port) for port in ("800", "884", "41884")
    }
    assert "Permission denied" in tried["800"].stderr
    assert "Permission denied" in tried["884"].stderr
    assert tried["41884"].succeeded, tried["41884"].stderr


def test_each_broker_has_its_own_user_and_one_capability(host: Host) -> None:
    for unit, user in brokers(host).items():
        status = status_of(host, main_process(host, unit))
        assert set(status["Uid"].split()) == {uid(host, user)}, unit
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == CAP_NET_BIND_SERVICE, (unit, kind)
        assert status["NoNewPrivs"] == "1", unit


def test_haproxy_serves_as_its_own_user_without_capabilities(host: Host) -> None:
    """The main process stays root, to read keys. A child process serves."""
    for unit in HAPROXIES:
        children = host.check_output("pgrep --parent %s", main_process(host, unit)).split()
        assert children
        for status in (status_of(host, child) for child in children):
            assert set(status["Uid"].split()) == {uid(host, unit)}
            assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
            assert status["NoNewPrivs"] == "1"
        assert host.run("runuser --user nobody -- ls /run/%s/empty", unit).failed


def test_germqtt_has_no_capability(host: Host) -> None:
    status = status_of(host, main_process(host, "germqtt"))
    assert set(status["Uid"].split()) == {uid(host, "germqtt")}
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"


def test_services_are_sandboxed(host: Host) -> None:
    most = dict.fromkeys(brokers(host), 1.7) | dict.fromkeys(HAPROXIES, 2.7) | {"germqtt": 1.2}
    for unit, limit in most.items():
        report = host.check_output("systemd-analyze security --no-pager %s.service", unit).splitlines()
        assert "Overall exposure level" in report[-1]
        assert float(report[-1].rpartition(": ")[2].split()[0]) <= limit, unit


def test_units_have_no_ordering_cycle(host: Host) -> None:
    """At boot, systemd would leave out one of the units of a cycle."""
    said = host.run("systemd-analyze verify default.target")
    assert "cycle" not in f"{said.stdout}{said.stderr}"


def test_only_the_service_can_read_its_secrets(host: Host) -> None:
    # The user that reads each file
    secrets = {"/etc/germqtt/germqtt.conf": "germqtt", "/etc/germqtt/.ssh/id_germqtt": "germqtt"}
    for user in brokers(host).values():
        copies = f"live/files/etc/{user}"
        files = ("mosquitto.conf", "live/mosquitto.conf", f"{copies}/passwd", f"{copies}/acl")
        secrets |= {f"/etc/{user}/{name}": user for name in files}
    users = {*secrets.values(), *HAPROXIES, "nobody"}
    for path, reader in secrets.items():
        assert {user for user in users if host.run("runuser --user %s -- cat %s", user, path).succeeded} == {reader}


def test_a_compromised_broker_cannot_access_other_brokers(host: Host) -> None:
    # With more CPUs there are more public brokers, which are like these.
    users = dict(itertools.islice(brokers(host).items(), 3))

    def tried(user: str, other: str) -> list[str]:
        """The actions against a broker that a process of a user succeeds at, with the capability of the unit."""
        pid, name = main_process(host, other), users[other]
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

    for taken_over, other in itertools.permutations(users, 2):
        assert tried(users[taken_over], other) == [], (taken_over, other)
    # The broker's own user succeeds: this shows that the attempts are real.
    for unit, user in users.items():
        assert {"end it", "read what it reads", "use its directory"} <= {*tried(user, unit)}, unit


def test_only_root_can_access_the_files_for_a_rollback(host: Host) -> None:
    """A compromised broker owns its copies. It can neither read nor change root's files, nor the files that root makes them from."""
    for user in brokers(host).values():
        for path in ("passwd", "acl", "live/kept.json"):
            status = host.check_output("stat --format '%%U %%a' %s", f"/etc/{user}/{path}")
            assert status in ("root 600", "root 400"), (user, path)
        assert "unit" not in host.check_output("find /etc/%s/live/files -name '*.service' -printf unit", user)
        assert host.check_output("ls /etc/%s/sets", user).splitlines() == [
            host.check_output("basename $(readlink /etc/%s/live)", user)
        ]


def test_only_root_can_read_the_secrets_between_the_brokers(host: Host) -> None:
    """The brokers have copies."""
    _accounts_broker, *public = brokers(host).values()
    for path in ["/etc/mosquitto/firehose-relay.password", *(f"/etc/{user}/client-id" for user in public)]:
        file = host.file(path)
        assert (file.user, file.mode) == ("root", 0o600)
        word = file.content_string.strip()
        assert len(word) >= 32
        grep = "grep --recursive --files-with-matches %s /etc /run --exclude-dir=sets"
        assert [name for name in host.run(grep, word).stdout.split() if not name.startswith(path)] == []
        # The client id is in the broker's log, which only root and the groups adm and systemd-journal can read.
        assert word not in host.check_output(
            "ps axww" if "client-id" in path else "journalctl --namespace=* --no-pager; ps axww"
        )


def test_each_public_broker_has_a_memory_limit(host: Host) -> None:
    units = public_units(host)
    limits = {unit: host.check_output("systemctl show --property MemoryMax --value %s", unit) for unit in units}
    assert limits == dict.fromkeys(units, str(2**30))


def test_no_password_is_stored_in_clear_text(host: Host, firehoses: Firehoses) -> None:
    places = host.check_output(
        "journalctl --namespace=* --no-pager; cat /etc/mosquitto*/* /etc/firehose-haproxy/* /var/log/mosquitto/* 2>/dev/null; ps axww"
    )
    accounts = firehoses[host.backend.get_hostname()].publishers
    assert "mosquitto" in places
    assert [name for name, account in accounts.items() if account.password and account.password in places] == []
