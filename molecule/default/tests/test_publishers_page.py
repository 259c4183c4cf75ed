# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of docs/publishers.md does what it says, as it stands there."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest
from firehose_testing.clients import PahoSubscriber, Way, ca_file
from firehose_testing.fixtures import Firehoses

PAGE = pathlib.Path(os.environ["MOLECULE_PROJECT_DIRECTORY"], "docs/publishers.md").read_text(encoding="utf-8")
TRUSTED = "/usr/local/share/ca-certificates/firehose.crt"


@pytest.fixture(scope="module")
def publishing_host(subscriber: str) -> str:
    """A host with Mosquitto's clients that trusts the certificate authority, as the page has it."""
    subprocess.run(["docker", "cp", "--quiet", ca_file(), f"{subscriber}:{TRUSTED}"], check=True)
    subprocess.run(["docker", "exec", subscriber, "update-ca-certificates"], check=True, stdout=subprocess.DEVNULL)
    return subscriber


def test_mosquitto_pub_example_publishes(firehoses: Firehoses, name: str, publishing_host: str) -> None:
    firehose = firehoses[name]
    account = firehose.publishers["ci-1"]
    [topic] = account.topics
    own = topic.removesuffix("/#")
    [example] = re.findall(r"^mosquitto_pub .*$", PAGE, re.MULTILINE)
    command = example.replace("firehose01.example.org", firehose.address)
    command = command.replace("-u wiki ", f"-u {account.name} ").replace("-t wiki/", f"-t {own}/")
    with PahoSubscriber(firehose.address, Way("tcp", "5")) as everybody:
        done = subprocess.run(
            ["docker", "exec", "--env", f"PASSWORD={account.password}", publishing_host, "sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        everybody.wait_for(topic=f"{own}/page-saved", payload='{"type": "page-saved", "page": "Main"}')
