# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/publishers.md, and the one for accounts of docs/subscribe.md, do what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from firehose_testing.clients import PahoSubscriber, ca_file
from firehose_testing.documents import HOST, example, examples
from firehose_testing.fixtures import only_host
from firehose_testing.site import TCP, Broker

PAGE = "docs/publishers.md"
SHELL = "".join(examples(PAGE, "shell"))
[PUBLISH] = re.findall(rf"^mosquitto_pub -h {HOST} .*$", SHELL, re.MULTILINE)
ANONYMOUS = re.findall(rf"^mosquitto_sub -h {HOST} .*$", SHELL, re.MULTILINE)
READER = re.findall(
    rf"^mosquitto_sub -h {HOST} .* -u .*$", "".join(examples("docs/subscribe.md", "shell")), re.MULTILINE
)
PROGRAM = example(PAGE, "python", "client.publish")
TOPIC, DENIED = "wiki/page-saved", "zuul/page-saved"
TRUSTED = "/srv/ca.pem"


@pytest.fixture(scope="module")
def client() -> str:
    """A container with Mosquitto's clients, and with the CA's certificate."""
    container = only_host("subscriber")
    subprocess.run(["docker", "cp", ca_file(), f"{container}:{TRUSTED}"], check=True)
    return container


def inside(
    client: str, broker: Broker, command: str, password: str = "only-for-tests-wiki"
) -> subprocess.CompletedProcess[str]:
    """Run a command that trusts the tests' CA as it would trust the system's."""
    script = (
        f"SSL_CERT_FILE={TRUSTED} PASSWORD={password}; export SSL_CERT_FILE; {command.replace(HOST, broker.address)}"
    )
    return subprocess.run(
        ["docker", "exec", client, "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run_program(broker: Broker, topic: str = TOPIC, password: str = "only-for-tests-wiki") -> str:
    program = PROGRAM.replace(HOST, broker.address).replace(TOPIC, topic)
    environment = os.environ | {"SSL_CERT_FILE": ca_file(), "PASSWORD": password}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


def test_mosquitto_pub(brokers: list[Broker], client: str) -> None:
    for broker in brokers:
        with PahoSubscriber(broker.address, TCP, ["#"]) as subscriber:
            assert inside(client, broker, PUBLISH).returncode == 0
            subscriber.wait_for(topic=TOPIC, payload='{"type": "page-saved", "page": "Main"}')
        denied = inside(client, broker, PUBLISH.replace(TOPIC, DENIED))
        assert (denied.returncode, "Not authorized" in denied.stdout) == (0, True), denied.stdout
        rejected = inside(client, broker, PUBLISH, "wrong")
        assert rejected.returncode == 135, rejected.stdout


@pytest.mark.parametrize("subscribe", [*ANONYMOUS, *READER], ids=["anonymous", "reader"])
def test_mosquitto_sub(brokers: list[Broker], client: str, subscribe: str) -> None:
    for broker in brokers:
        publish = f"for _ in 1 2 3 4 5; do sleep 1; {PUBLISH}; done"
        command = f"PASSWORD=only-for-tests-monitor; timeout 30 {subscribe.replace('gerrit/#', 'wiki/#')} -C 1"
        seen = inside(client, broker, f"({publish}) & {command}; wait")
        assert f"{TOPIC} {{" in seen.stdout, seen.stdout


def test_python(brokers: list[Broker]) -> None:
    for broker in brokers:
        with PahoSubscriber(broker.address, TCP, ["#"]) as subscriber:
            assert run_program(broker).startswith("accepted: ")
            subscriber.wait_for(topic=TOPIC, payload='{"type": "page-saved", "page": "Main"}')
        assert run_program(broker, topic=DENIED) == "denied: Not authorized\n"
        assert run_program(broker, password="wrong") == "rejected: Not authorized\n"
