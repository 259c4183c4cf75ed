# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module tls_served, run as Ansible runs it, with a real listener."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.modules import tls_served


@pytest.fixture
def port(certificate):
    """The port of a listener that serves the certificate to each client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listening.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
                        encrypted.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def run(capsys, tmp_path):
    def run_module(**options):
        with patch_module_args({**options, "_ansible_remote_tmp": str(tmp_path)}), pytest.raises(SystemExit):
            tls_served.main()
        return json.loads(capsys.readouterr().out)

    return run_module


@pytest.mark.parametrize("as_text", [True, False])
def test_a_matching_certificate(run, port, certificate, as_text):
    path, _key = certificate
    text = path.read_text(encoding="utf-8")
    # Certificates of CAs follow it.
    path.write_text(text + text, encoding="utf-8")
    where = {"certificate_pem": text} if as_text else {"certificate": str(path)}
    result = run(listeners=[{"port": port, **where}])
    assert (result["changed"], result["differences"]) == (False, [])


def test_another_certificate_and_no_answer_are_differences(run, port, certificate, other_certificate):
    [other, _key] = other_certificate
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    listeners = [
        {"port": port, "certificate": str(other)},
        {"port": port, "certificate_pem": other.read_text(encoding="utf-8"), "bind_address": "127.0.0.1"},
        {"port": closed, "certificate": str(other)},
        {"port": port, "certificate": f"{other}.gone"},
        {"port": port, "certificate": str(_key)},
    ]
    assert run(listeners=listeners)["differences"] == [
        f"port {port} serves another certificate than {other}",
        f"port {port} serves another certificate than certificate_pem",
        f"port {closed}: nothing listens there: Connection refused",
        f"port {port}: {other}.gone: No such file or directory",
        f"port {port}: {_key} has no certificate in PEM format",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"listeners": [{"port": 0, "certificate": "/c"}]}, "listeners[0].port: 0 is not between"),
        ({"listeners": [{"port": 1, "certificate": "/c"}], "timeout": 0}, "timeout: 0"),
        ({"listeners": [{"port": 1}]}, "one of the following is required: certificate, certificate_pem"),
    ],
)
def test_invalid_options(run, options, problem):
    result = run(**options)
    assert result["failed"]
    assert problem in result["msg"]
