# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS for anonymous clients: versions, renewed certificates, and a firehose that serves only TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import typing as t

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, QOS1, TLS_PORTS, TLS_WAYS, PahoSubscriber, Way, publish
from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.gerrit import Gerrit
from firehose_testing.runs import run_playbook
from firehose_testing.tls import VERSIONS, allow, spoken
from firehose_testing.waiting import wait_until


def test_the_test_client_supports_all_tls_versions(firehoses: Firehoses, tmp_path: t.Any) -> None:
    """Otherwise the test of HAProxy's versions would prove nothing."""
    [firehose, *_others] = firehoses.values()
    for name in ("good.pem", "good-key.pem"):
        (tmp_path / name).write_text(firehose.host.file(f"/srv/certificates/{name}").content_string, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "good.pem", tmp_path / "good-key.pem")
    allow(context, *VERSIONS)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _version in VERSIONS:
                connection, _address = listening.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
                    encrypted.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert spoken("127.0.0.1", listening.getsockname()[1])[0] == set(VERSIONS)
        thread.join(10)


@pytest.mark.parametrize("port", TLS_PORTS.values())
def test_only_tls_1_2_and_1_3_are_supported(firehoses: Firehoses, name: str, port: int) -> None:
    assert spoken(firehoses[name].address, port)[0] == {"1.2", "1.3"}


@pytest.mark.parametrize("way", TLS_WAYS, ids=str)
def test_a_client_rejects_a_certificate_of_an_unknown_ca(
    firehoses: Firehoses, name: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firehose_testing.clients.ca_file", lambda: None)
    with (
        pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"),
        PahoSubscriber(firehoses[name].address, way),
    ):
        pass


def test_a_renewed_certificate_is_served_after_a_reload(firehoses: Firehoses, name: str) -> None:
    """Connected clients stay connected. If the key does not match the certificate, HAProxy keeps the old certificate."""
    host, address = firehoses[name].host, firehoses[name].address

    def served() -> set[bytes]:
        return spoken(address, TLS_PORTS["tcp"])[1]

    before = served()
    host.check_output("mkdir /root/kept && cp -a /srv/certificates/good*.pem /root/kept")
    with PahoSubscriber(address, TLS_WAYS[0], ["ci/1/#"]) as subscriber:
        try:
            host.check_output("cd /srv/certificates && cp -a expired.pem good.pem")
            assert host.run("systemctl reload firehose-haproxy").failed
            assert served() == before
            host.check_output("cd /srv/certificates && cp -a expired-key.pem good-key.pem")
            host.check_output("systemctl reload firehose-haproxy")
            wait_until(lambda: not served() & before, "another certificate is served")
        finally:
            host.check_output("cp -a /root/kept/* /srv/certificates && rm -r /root/kept")
            host.check_output("systemctl reload firehose-haproxy")
        wait_until(lambda: served() == before, "the first certificate is served again")
        publish(address, firehoses[name].publishers["ci-1"], ACCOUNT_WAYS[0], QOS1, {"ci/1/tls": "later"})
        subscriber.wait_for(payload="later")


@pytest.fixture
def without_plain(firehoses: Firehoses) -> t.Iterator[Firehose]:
    """A host where a run closed the ports without TLS."""
    *_others, firehose = firehoses.values()
    try:
        run_playbook("--limit", firehose.name, "--extra-vars", json.dumps({"firehose_plain": False}))
        yield firehose
    finally:
        run_playbook("--limit", firehose.name)


def test_ports_without_tls_can_be_closed(without_plain: Firehose, gerrit: Gerrit) -> None:
    """Events still arrive."""
    found = set()
    for port in (1883, 80, 8883, 443):
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection((without_plain.address, port), 10),
        ):
            found.add(port)
    assert found == {8883, 443}
    with contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(PahoSubscriber(without_plain.address, way)) for way in TLS_WAYS]
        gerrit.wait_until_heard(subscribers)
