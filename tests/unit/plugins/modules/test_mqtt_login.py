# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module mqtt_login, run as Ansible runs it, with a simulated broker."""

from __future__ import annotations

import json
import socketserver
import threading

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import packets
from ansible_collections.opendev.firehose.plugins.modules import mqtt_login


class Broker(socketserver.ThreadingTCPServer):
    """Accepts the correct password, and records the logins."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.seen: list[bytes] = []


class Connection(socketserver.BaseRequestHandler):
    """Answers one CONNECT."""

    def handle(self) -> None:
        data = bytearray()
        found: list[packets.Packet] = []
        while not found:
            data += self.request.recv(4096)
            found = packets.split(data)
        [packet] = found
        self.server.seen.append(packet.body)
        code = 0 if packet.body.endswith(packets.text("right")) else 4
        self.request.sendall(packets.packet(packets.CONNACK, bytes([0, code])))
        self.request.recv(4096)


@pytest.fixture
def broker():
    with Broker() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(capsys, tmp_path):
    """Run the module and return its result."""

    def run_module(**options):
        arguments = {"host": "127.0.0.1", **options, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            mqtt_login.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_the_correct_password_is_accepted(run, broker):
    result = run(port=broker.server_address[1], username="zuul", password="right")
    assert result["changed"] is False
    assert result["seconds"] >= 0
    assert packets.text("zuul") in broker.seen[0]


def test_a_session_of_a_client_id_is_cleaned(run, broker):
    run(port=broker.server_address[1], username="zuul", password="right", client_id="old")
    body = broker.seen[0]
    # The flags follow the name and the version of the protocol.
    assert body[7] & packets.CLEAN_SESSION
    assert packets.text("old") + packets.text("zuul") in body


def test_a_wrong_password_is_rejected(run, broker):
    port = broker.server_address[1]
    result = run(port=port, username="zuul", password="wrong-hunter2")
    refusal = "it does not let this client in: bad user name or password (return code 4)"
    assert result["msg"] == f"127.0.0.1 port {port}, as 'zuul': {refusal}"
    assert "hunter2" not in result["msg"]


def test_nothing_listens(run):
    with Broker() as gone:
        port = gone.server_address[1]
    assert run(port=port)["msg"].startswith(f"127.0.0.1 port {port}, without a name: nothing listens there")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"port": 0}, "port: 0"),
        ({"port": 1, "timeout": 0}, "timeout: 0"),
        ({"port": 1, "timeout": 1e10}, "timeout: 1e+10"),
        ({"port": 1, "password": "hunter2"}, "password: there is no username"),
        ({"port": 1, "ca_file": "/ca"}, "ca_file needs tls=true"),
        ({"port": 1, "username": "x" * 65536}, "username: it has more than 65535 bytes"),
        ({"port": 1, "username": "a", "password": "\udc80"}, "password: it is not valid UTF-8"),
    ],
)
def test_invalid_options(run, options, problem):
    assert problem in run(**options)["msg"]
