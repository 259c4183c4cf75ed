# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The brokers and secrets of an edge host, and invalid values that are rejected before anything changes."""

from __future__ import annotations

import pytest
from firehose_testing.clients import ACCOUNT_TLS_PORTS, TLS_PORTS, PahoSubscriber, Way
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.runs import try_playbook
from firehose_testing.tls import spoken
from firehose_testing.waiting import wait_until

PASSWORD = "only-for-tests-edge: 100% 'quoted'"


def test_the_number_of_brokers_is_that_of_the_variable(edges: Firehoses) -> None:
    """No other broker runs, such as the one that Debian's package starts."""

    def running(edge: Firehose) -> set[str]:
        units = edge.host.check_output("systemctl list-units --plain --no-legend 'mosquitto*.service'")
        return {line.split()[0] for line in units.splitlines()}

    assert edges.each(running) == {name: {"mosquitto@1.service", "mosquitto@2.service"} for name in edges}


def test_one_command_renews_the_certificates_of_all_ports(core: Firehose) -> None:
    """As certbot's deploy hook does, including the account listeners."""
    ports, place = (TLS_PORTS["tcp"], ACCOUNT_TLS_PORTS["tcp"]), "/srv/certificates"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=renewed"

    def served() -> list[set[bytes]]:
        return [spoken(core.address, port)[1] for port in ports]

    before = served()
    core.host.check_output(f"cp -a {place} /root/kept && {make} -keyout {place}/good-key.pem -out {place}/good.pem")
    try:
        core.host.check_output("systemctl reload firehose-haproxy")
        wait_until(lambda: not any(one & old for one, old in zip(served(), before)), "others are served")
    finally:
        core.host.check_output(f"cp -a /root/kept/. {place} && rm -r /root/kept && systemctl reload firehose-haproxy")
    wait_until(lambda: served() == before, "the first ones are served again")


def test_only_root_and_the_service_can_read_the_password(edges: Firehoses) -> None:
    def readable(edge: Firehose) -> str:
        find = "grep --recursive --no-messages --files-with-matches --fixed-strings %s /etc /run /var/log"
        return edge.host.run(f"runuser --user nobody -- {find}", PASSWORD).stdout

    assert edges.each(readable) == dict.fromkeys(edges, "")
    for edge in edges.values():
        assert edge.host.file("/etc/mosquitto-1/mosquitto.conf").contains("only-for-tests-edge")
        assert PASSWORD not in edge.host.check_output(
            "journalctl --namespace=* --no-pager; ps axww; cat /proc/[0-9]*/environ"
        )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"firehose_edge_password": "another"}, "'firehose-edge': it does not let this client in"),
        ({"firehose_edge_core_ca": "/etc/ssl/certs/ca-certificates.crt"}, "the broker's certificate is not valid"),
        ({"firehose_edge_core_host": "192.0.2.1", "firehose_edge_core_timeout": 2}, "192.0.2.1 port 8884"),
        ({"firehose_edge_core_port": 8885}, "port 8885, as 'firehose-edge': nothing listens there"),
    ],
)
def test_invalid_values_change_nothing(edges: Firehoses, variables: dict[str, str | int], said: str) -> None:
    edge = next(iter(edges.values()))
    with PahoSubscriber(edge.address, Way("tcp", "3.1.1")) as public:
        run = try_playbook("firehose", "--limit", edge.name, **variables)
        assert run.returncode == 2, run.stdout
        assert said in run.stdout, run.stdout
        assert next(iter(variables)) in run.stdout
        assert "changed=0" in run.stdout
        assert public.ended is None


def on_disk(edge: Firehose) -> str:
    """The files of HAProxy and of systemd. Files that a run restores have another modification time."""
    files = "/etc/firehose-haproxy/* /etc/systemd/system/*.service /etc/systemd/system/*.socket"
    return edge.host.check_output(f"stat --format '%n %U %G %a' {files}; sha256sum {files}")


def test_a_key_that_does_not_match_changes_nothing(edges: Firehoses) -> None:
    [edge, other, *_others] = edges.values()
    certificate = edge.host.check_output("cat /srv/certificates/good.pem")
    key = other.host.check_output("cat /srv/certificates/good-key.pem")
    before = on_disk(edge)
    with PahoSubscriber(edge.address, Way("tcp", "3.1.1", tls=True)) as public:
        run = try_playbook(
            "firehose", "--limit", edge.name, firehose_tls={"certificate_pem": certificate, "key_pem": key}
        )
        assert run.returncode == 2, run.stdout
        assert "firehose_tls: certificate_pem and key_pem (port 8883, 443): the key does not belong" in run.stdout, (
            run.stdout
        )
        assert "changed=0" in run.stdout
        assert key.splitlines()[1] not in run.stdout
        assert public.ended is None
    assert on_disk(edge) == before


def test_if_haproxy_does_not_start_the_previous_configuration_serves(edges: Firehoses) -> None:
    """New listeners need a restart. HAProxy fails for a reason outside its configuration."""
    edge = next(iter(edges.values()))
    drop_in = "/etc/systemd/system/firehose-haproxy.service.d/broken.conf"
    fails = "[Service]\nExecStartPre=/bin/sh -c '! grep -q 18830 /etc/firehose-haproxy/haproxy.cfg'\n"
    before = on_disk(edge)
    edge.host.check_output(
        "mkdir -p $(dirname %s) && printf %s >%s && systemctl daemon-reload", drop_in, fails, drop_in
    )
    try:
        run = try_playbook("firehose", "--limit", edge.name, firehose_listeners=[{"port": 1883}, {"port": 18830}])
        assert run.returncode == 2, run.stdout
        assert "'systemctl restart firehose-haproxy.service' failed" in run.stdout, run.stdout
        assert "HAProxy serves with its previous configuration." in run.stdout
        assert on_disk(edge) == before
        for port, is_open in ((1883, True), (8883, True), (443, True), (18830, False)):
            assert edge.host.socket(f"tcp://0.0.0.0:{port}").is_listening is is_open, port
        with PahoSubscriber(edge.address, Way("tcp", "3.1.1", tls=True)) as public:
            assert public.ended is None
    finally:
        edge.host.check_output("rm -r $(dirname %s) && systemctl daemon-reload", drop_in)
