# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ports_validate, run as Ansible runs it, with a simulated systemctl."""

from __future__ import annotations

import json
import os
import shutil
import socket

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.modules import ports_validate

SYSTEMCTL = """#!/bin/sh
cat <<EOF
Id=mosquitto.service
ActiveState={state}

Id=firehose-haproxy.socket
ActiveState={state}
Listen=[::]:{port} (Stream)
EOF
"""
UNITS = ["mosquitto.service", "firehose-haproxy.socket"]


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    def run_module(*listeners, units=(), state="active", port=1):
        systemctl = tmp_path / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(state=state, port=port), encoding="utf-8")
        systemctl.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        named = [{**listener, "variable": f"variable_{number}"} for number, listener in enumerate(listeners)]
        options = {"listeners": named, "units": [*units]}
        with patch_module_args({**options, "_ansible_remote_tmp": str(tmp_path)}), pytest.raises(SystemExit):
            ports_validate.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_free_ports_are_valid(run):
    # The kernel assigns a free port.
    result = run({"port": 0}, {"port": 0, "bind_address": "127.0.0.1"})
    assert (result.get("failed"), result["changed"], result["own_ports"]) == (None, False, [])


@pytest.mark.skipif(not shutil.which("ss"), reason="without ss nobody knows the program")
def test_a_port_of_another_program_is_named_with_the_program(run, taken):
    result = run({"port": 0}, {"port": taken, "bind_address": "127.0.0.1"})
    assert result["failed"]
    assert result["msg"].startswith(f"variable_1: port {taken} of 127.0.0.1: Address already in use: ")
    assert f", PID {os.getpid()}. Free the port" in result["msg"]


def test_an_address_of_another_host(run):
    result = run({"port": 0, "bind_address": "192.0.2.77"})
    assert "variable_0: port 0 of 192.0.2.77: Cannot assign requested address" in result["msg"]


@pytest.mark.parametrize("state", ["active", "inactive"])
def test_a_port_of_an_own_systemd_socket_is_valid(run, taken, monkeypatch, state):
    monkeypatch.setattr(ports_validate.Host, "holders", lambda _self, _port: {1: "systemd"})
    result = run({"port": taken}, units=UNITS, state=state, port=taken)
    assert result.get("own_ports") == ([taken] if state == "active" else None)
    assert result.get("failed", False) is (state == "inactive")


def test_processes_that_systemd_is_starting_count_as_systemd(run, taken, monkeypatch):
    """Each process has the sockets of systemd until it runs the program of its service."""
    programs = {1: "systemd", 4713: "(sd-rmrf)", 2**31 - 1: "(has ended)"}
    monkeypatch.setattr(ports_validate.Host, "holders", lambda _self, _port: programs)
    links = {"/proc/1/exe": "/usr/lib/systemd/systemd", "/proc/4713/exe": "/usr/lib/systemd/systemd"}
    readlink = os.readlink
    monkeypatch.setattr(ports_validate.os, "readlink", lambda path: links.get(path) or readlink(path))
    assert run({"port": taken}, units=UNITS, port=taken)["own_ports"] == [taken]
    links["/proc/4713/exe"] = "/usr/sbin/nginx"
    assert run({"port": taken}, units=UNITS, port=taken)["failed"]


@pytest.mark.parametrize(
    ("programs", "own"),
    [({4711: "mosquitto"}, True), ({4712: "nginx"}, False), ({4711: "mosquitto", 4712: "nginx"}, False), ({}, True)],
    ids=str,
)
def test_a_port_of_an_own_service_is_valid(run, taken, monkeypatch, programs, own):
    """Also where root cannot see the program."""
    monkeypatch.setattr(ports_validate.Host, "holders", lambda _self, _port: programs)
    monkeypatch.setattr(ports_validate, "unit_of", {4711: "mosquitto.service", 4712: "nginx.service"}.get)
    assert run({"port": taken}, units=UNITS).get("own_ports") == ([taken] if own else None)
    assert run({"port": taken}, units=UNITS, state="inactive")["failed"]


def test_the_service_of_a_process():
    # The slice, scope or service in which the tests run.
    assert "/" not in ports_validate.unit_of(os.getpid())
    assert ports_validate.unit_of(2**31 - 1) == ""
