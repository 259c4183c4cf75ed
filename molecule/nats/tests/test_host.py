# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, with which rights, and what a run of the role does to it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from firehose_testing.clients import PahoSubscriber, Way
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.nats import hosts, run_role
from firehose_testing.tls import spoken

TLS = Way("tcp", "3.1.1", tls=True)
FOLDER = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@pytest.mark.parametrize(("unit", "most"), [("nats-server", 1.5), ("nats-sessions", 1.2)])
def test_a_unit_is_confined(cluster: Firehoses, unit: str, most: float) -> None:
    def exposure(server: Firehose) -> float:
        report = server.host.check_output("systemd-analyze security --no-pager %s.service", unit).splitlines()
        return float(report[-1].rpartition(": ")[2].split()[0])

    assert max(cluster.each(exposure).values()) <= most


def test_the_server_is_nobody_and_has_what_it_was_given(cluster: Firehoses) -> None:
    def properties(server: Firehose) -> dict[str, str]:
        pid = server.host.check_output("systemctl show --value --property=MainPID nats-server")
        status = server.host.file(f"/proc/{pid}/status").content_string
        rights = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
        shown = server.host.check_output("systemctl show --property=MemoryMax,Environment,LimitNOFILE nats-server")
        return {"rights": rights, **dict(line.split("=", 1) for line in shown.splitlines())}

    wanted = {
        "rights": "0000000000000400",  # of ports below 1024
        "MemoryMax": str(512 * 2**20),
        "Environment": f"GOMEMLIMIT={512 * 2**20 * 9 // 10}",
        "LimitNOFILE": "14000",
    }
    assert cluster.each(properties) == dict.fromkeys(cluster, wanted)


def test_no_password_is_seen_by_others(cluster: Firehoses, alone: Firehose) -> None:
    for server in (*cluster.values(), alone):
        secret = ["only-for-tests", "onlyForTests"]
        if server is not alone:
            secret.append(server.host.check_output("cut -d= -f2 /etc/nats/sessions.env"))
        assert all(secret)
        for word in secret:
            find = "grep --recursive --no-messages --files-with-matches --fixed-strings %s /etc /run /var/lib /var/log"
            assert server.host.run(f"runuser --user nobody -- {find}", word).stdout == ""
            assert word not in server.host.check_output("journalctl --no-pager; ps axww")
        assert server.host.file("/etc/nats/nats-server.conf").contains("only-for-tests")


def test_the_passwords_for_sessions_differ(cluster: Firehoses) -> None:
    made = cluster.each(lambda server: server.host.check_output("cat /etc/nats/sessions.env"))
    assert len(set(made.values())) == len(cluster)
    assert all(len(line) > 60 for line in made.values())


@pytest.mark.parametrize("options", [(), ("--check",)], ids=str)
def test_a_nats_that_is_too_old_is_refused(old: Firehose, options: tuple[str, ...]) -> None:
    run = run_role("old", *options)
    assert run.returncode == 2, run.stdout
    assert "needs NATS 2.10 or later, which Debian has since 13; this host's is 2.9.10" in run.stdout
    assert "changed=0" in run.stdout
    assert not old.host.file("/etc/nats").exists
    assert not old.host.package("nats-server").is_installed


def on_disk(server: Firehose) -> str:
    return server.host.check_output("sha256sum /etc/nats/nats-server.conf /etc/nats/tls/* /etc/systemd/system/nats*")


def another() -> str:
    """The path of a key that belongs to another server's certificate, without its end."""
    return f"{FOLDER}/{next(iter(hosts('cluster')))}-good"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"relay_password": {"password_env": "NOT_THERE"}}, "variable reference for 'NOT_THERE'"),
        ({"nats_environment_files": ["/srv/not-there"]}, "/srv/not-there"),
        (None, "private key does not match public key"),
    ],
)
def test_a_configuration_that_nats_does_not_take_changes_nothing(
    alone: Firehose, variables: dict[str, t.Any] | None, said: str
) -> None:
    before = on_disk(alone)
    with PahoSubscriber(alone.address, TLS, ["gerrit/#"]) as reader:
        run = run_role("alone", **({"key_file": f"{another()}-key.pem"} if variables is None else variables))
        assert run.returncode == 2, run.stdout
        assert said in run.stdout.replace("\n", " "), run.stdout
        assert "only-for-tests" not in run.stdout
        assert on_disk(alone) == before
        assert reader.ended is None


def test_a_new_certificate_disconnects_nobody(alone: Firehose) -> None:
    def bring(certificate: str) -> str:
        for source, name in ((f"{certificate}.pem", "good.pem"), (f"{certificate}-key.pem", "good-key.pem")):
            subprocess.run(["docker", "cp", "--quiet", source, f"{alone.name}:/srv/certificates/{name}"], check=True)
        alone.host.check_output("chown root:root /srv/certificates/*; chmod 0600 /srv/certificates/good-key.pem")
        run = run_role("alone")
        assert run.returncode == 0, run.stdout
        return run.stdout

    own = str(FOLDER / f"{alone.name}-good")
    before = spoken(alone.address, 443)
    assert before[0] == {"1.3"}
    with PahoSubscriber(alone.address, TLS, ["gerrit/#"]) as reader:
        said = bring(another())
        assert "changed=1" in said, said
        after = spoken(alone.address, 443)
        bring(own)
        assert reader.ended is None
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert spoken(alone.address, 443) == before


def test_a_changed_diff_shows_no_password(alone: Firehose) -> None:
    run = run_role("alone", "--check", "--diff", relay_password={"password": "onlyForTestsAnother"}, nats_ping_max=3)
    assert run.returncode == 0, run.stdout
    assert "another secret text" in run.stdout
    assert "onlyForTests" not in run.stdout
