# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of all contenders, as set up by the collection's playbook, and the host of the subscribers."""

from __future__ import annotations

import pathlib
import secrets
import typing as t

import hosts
import yaml
from measure import BENCH, CHECKOUT, play, run, say

from fanout.cases import STOCK_LIMIT
from fanout.contenders import Contender

# Networks for benchmarks, in which each subscriber has its own address.
SOURCES, FIRST_SOURCE = "198.18.0.0/15", "198.18.1.0"
STOCK = """listener 1883
allow_anonymous true
listener 8080
protocol websockets
"""
PROGRAMS = {"load": ("load.c", "subscribers.c", "publisher.c"), "limit": ("limit.c",)}
ORIGIN = "origin"


class Site:
    """All hosts. Hosts that are not measured are paused."""

    def __init__(self, folder: pathlib.Path, contenders: t.Sequence[Contender]) -> None:
        self._folder = folder
        self.names = sorted({"client"}.union(*(each.containers for each in contenders)))
        self._password = secrets.token_urlsafe(24)
        self._paused: set[str] = set()
        self._raised = False

    def prepare(self) -> None:
        """Set all of them up."""
        for program, sources in PROGRAMS.items():
            paths = [BENCH / "fanout" / source for source in sources]
            run("gcc", "-std=gnu11", "-O2", "-static", "-pthread", *paths, "-o", self._folder / program)
            for name in self.names:
                run("docker", "cp", self._folder / program, f"{hosts.container(name)}:/usr/local/bin/")
        hosts.in_container("client", "ip", "route", "add", "local", SOURCES, "dev", "lo")
        for name in set(self.names) - {"client"}:
            hosts.in_container(name, "ip", "route", "add", SOURCES, "via", hosts.address("client"))
        if "stock" in self.names:
            self._write("stock", "/etc/mosquitto/conf.d/bench.conf", STOCK)
            hosts.in_container("stock", "systemctl", "restart", "mosquitto")
        for number in (1, 50) if "limit" in self.names else ():
            port = str(2000 + number)
            run("docker", "exec", "--detach", hosts.container("limit"), "limit", port, str(number))
        cores = [name for name in ("core", ORIGIN) if name in self.names]
        if cores:
            say("running the collection's playbook")
            self._play(cores)

    def _write(self, name: str, path: str, text: str) -> None:
        hosts.in_container(name, "python3", "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", path, text)

    def _play(self, cores: t.Sequence[str]) -> None:
        names = [hosts.container(name) for name in cores]
        key, certificate = "/root/key.pem", "/root/certificate.pem"
        about = ["-subj", "/CN=bench", "-addext", f"subjectAltName=DNS:{','.join(f'DNS:{name}' for name in names)[4:]}"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90"]
        hosts.in_container(cores[0], "openssl", "req", "-x509", *curve, *about, "-keyout", key, "-out", certificate)
        pem = {path: hosts.in_container(cores[0], "cat", path) + "\n" for path in (key, certificate)}
        tls = {"certificate_pem": pem[certificate], "key_pem": pem[key]}
        # Limits and topics of anonymous clients have their defaults. The publisher sends more than a publisher can by
        # default.
        variables = {
            "ansible_connection": "community.docker.docker",
            "ansible_user": "root",
            "firehose_germqtt": False,
            "firehose_publishers": [
                {"name": "bench", "password": self._password, "topics": ["#"], "messages": 0, "bytes": 0}
            ],
            "firehose_account_listeners": [{"port": 1884}, {"port": 8884, "tls": tls}],
            "firehose_tls": tls,
            "firehose_edge_password": secrets.token_urlsafe(24),
            "firehose_edge_core_host": names[-1],
            "firehose_edge_core_ca_pem": pem[certificate],
        }
        edges = {hosts.container("edge"): {}} if "edge" in self.names else {}
        inventory = {
            "firehose": {"hosts": {name: {} for name in names}},
            "firehose_edges": {"hosts": edges},
            "all": {"vars": variables},
        }
        path = self._folder / "inventory.yml"
        path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        play(CHECKOUT / "playbooks/firehose.yml", f"--inventory={path}", limit=600)

    def wake(self, names: t.Collection[str]) -> None:
        """Run these hosts, and no others."""
        for name in set(self.names) - {"client"}:
            if (name in names) == (name in self._paused):
                run("docker", "unpause" if name in names else "pause", hosts.container(name))
                self._paused ^= {name}

    def raise_stock_limit(self, subscribers: int) -> None:
        """Allow stock Mosquitto enough open files, since its unit does not."""
        if self._raised == (subscribers >= STOCK_LIMIT):
            return
        self._raised = not self._raised
        folder = "/etc/systemd/system/mosquitto.service.d"
        hosts.in_container("stock", "mkdir", "-p", folder)
        text = "[Service]\nLimitNOFILE=65536\n" if self._raised else ""
        self._write("stock", f"{folder}/bench.conf", text)
        hosts.in_container("stock", "systemctl", "daemon-reload")
        hosts.in_container("stock", "systemctl", "restart", "mosquitto")

    def login(self, contender: Contender) -> tuple[str, str]:
        """The username and password of its publisher."""
        if contender.publish_at in ("core", ORIGIN):
            return "bench", self._password
        return "", ""
