# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on an edge, with which rights, and what is refused before anything runs."""

from __future__ import annotations

import pytest
from firehose_testing.clients import PahoSubscriber, Way
from firehose_testing.edges import Edge, Edges
from firehose_testing.runs import try_playbook

PASSWORD = "only-for-tests-edge: 100% 'quoted'"


MOST_EXPOSED = {"mosquitto@1": 1.7, "mosquitto@2": 1.7, "nats-server": 1.5, "firehose-relay": 1.5, "firehose-edge": 2.7}


@pytest.mark.parametrize("unit", MOST_EXPOSED)
def test_a_unit_is_confined(edges: Edges, unit: str) -> None:
    def exposure(edge: Edge) -> float:
        report = edge.host.check_output("systemd-analyze security --no-pager %s.service", unit).splitlines()
        return float(report[-1].rpartition(": ")[2].split()[0])

    has_it = Edges({name: edge for name, edge in edges.items() if unit in ["firehose-edge", *edge.services]})
    assert max(has_it.each(exposure).values()) <= MOST_EXPOSED[unit]


def test_only_what_is_meant_runs(edges: Edges) -> None:
    def running(edge: Edge) -> set[str]:
        units = edge.host.check_output(
            "systemctl list-units --plain --no-legend 'mosquitto*.service' 'nats-server.service' 'firehose-relay.service'"
        )
        return {line.split()[0].removesuffix(".service") for line in units.splitlines()}

    assert edges.each(running) == {name: {*edge.services} for name, edge in edges.items()}


def test_the_password_is_for_root_and_the_service_alone(edges: Edges) -> None:
    def readable(edge: Edge) -> str:
        find = "grep --recursive --no-messages --files-with-matches --fixed-strings %s /etc /run /var/log"
        return edge.host.run(f"runuser --user nobody -- {find}", PASSWORD).stdout

    assert edges.each(readable) == dict.fromkeys(edges, "")
    places = {"mosquitto": "/etc/mosquitto-1/mosquitto.conf", "nats": "/etc/firehose-edge/relay.json"}
    for edge in edges.values():
        assert edge.host.file(places[edge.engine]).contains("only-for-tests-edge")
        assert PASSWORD not in edge.host.check_output("journalctl --no-pager; ps axww; cat /proc/[0-9]*/environ")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"firehose_edge_password": "another"}, "'firehose-edge': it does not let this client in"),
        ({"firehose_edge_core_ca": "/etc/ssl/certs/ca-certificates.crt"}, "its certificate is not valid"),
        ({"firehose_edge_core_host": "192.0.2.1", "firehose_edge_core_timeout": 2}, "192.0.2.1 port 8884"),
        ({"firehose_edge_core_port": 8885}, "port 8885, as 'firehose-edge': nobody listens there"),
        ({"firehose_edge_engine": "nats"}, "2.9.10"),
    ],
)
def test_what_cannot_be_changes_nothing(edges: Edges, variables: dict[str, str | int], said: str) -> None:
    edge = next(iter(edges.values()))
    with PahoSubscriber(edge.address, Way("tcp", "3.1.1")) as public:
        run = try_playbook("firehose", "--limit", edge.name, **variables)
        assert run.returncode == 2, run.stdout
        assert said in run.stdout, run.stdout
        assert "changed=0" in run.stdout
        assert public.ended is None


def test_a_key_of_another_certificate_changes_nothing(edges: Edges) -> None:
    [edge, other, *_others] = edges.values()
    certificate = edge.host.check_output("cat /srv/certificates/good.pem")
    key = other.host.check_output("cat /srv/certificates/good-key.pem")

    def on_disk() -> str:
        return edge.host.check_output(
            "ls -l /etc/firehose-edge; sha256sum /etc/firehose-edge/* /etc/systemd/system/*.service"
        )

    before = on_disk()
    with PahoSubscriber(edge.address, Way("tcp", "3.1.1", tls=True)) as public:
        run = try_playbook(
            "firehose", "--limit", edge.name, firehose_tls={"certificate_pem": certificate, "key_pem": key}
        )
        assert run.returncode == 2, run.stdout
        assert "/etc/firehose-edge/text-1.pem" in run.stdout, run.stdout
        assert "changed=0" in run.stdout
        assert key.splitlines()[1] not in run.stdout
        assert public.ended is None
    assert on_disk() == before
