# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""germqtt on its own host publishes Gerrit's events at a remote broker: the bundled germqtt, and the 0.1.0 that it replaces."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import time
import typing as t

import pytest
import testinfra
from firehose_testing.brokers import PROJECT, VARIABLES, Broker, Brokers, Role, Run, host_in
from firehose_testing.gerrit import Gerrit, topic_of
from firehose_testing.sessions import Session
from firehose_testing.waiting import wait_until
from testinfra.host import Host

FIXTURE = PROJECT / "tests/fixtures/gerrit-events.jsonl"
KNOWN_HOSTS = "/etc/germqtt/.ssh/known_hosts"
SECRETS = ["/etc/germqtt/germqtt.conf", "/etc/germqtt/.ssh/id_germqtt"]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH+wAziyEEHEjv3EeDzpXIZk+v06Fz8uPzWTesYhL09l"


@dataclasses.dataclass(frozen=True)
class Germqtt:
    """A germqtt: bundled or from PyPI, its host, and the start of its topics."""

    source: str
    name: str
    host: Host

    @property
    def topic(self) -> str:
        return f"review/{self.source}"

    def ours(self, topic: str) -> str:
        """The topic with the configured prefix, from the topic with the default prefix."""
        assert topic.startswith("gerrit/")
        return self.topic + topic.removeprefix("gerrit")

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.host.check_output("systemctl show --property %s --value germqtt", name)

    def journal(self) -> str:
        """The log since the last start."""
        return self.host.check_output(f"journalctl --no-pager _SYSTEMD_INVOCATION_ID={self.show('InvocationID')}")


@pytest.fixture(params=["bundled", "pypi"])
def germqtt(request: pytest.FixtureRequest) -> Germqtt:
    name = host_in(request.param)
    return Germqtt(request.param, name, testinfra.get_host(f"docker://{name}"))


@pytest.fixture(scope="module")
def upstream(brokers: Brokers, role: Role) -> Broker:
    role.ensure()
    return brokers[host_in("upstream")]


@pytest.fixture
def subscriber(upstream: Broker, germqtt: Germqtt) -> t.Iterator[Session]:
    with upstream.session(f"{germqtt.topic}/#") as session:
        yield session


def wait_until_heard(germqtt: Germqtt, gerrit: Gerrit, subscriber: Session) -> None:
    """Wait until events that are streamed from now on arrive."""
    before = len(subscriber.messages)
    marks = germqtt.ours(topic_of({"project": "tests/marker", "type": ""}))
    assert gerrit.mark_until(lambda: any(m.topic.startswith(marks) for m in subscriber.messages[before:]))


def test_events_arrive_unchanged_on_their_topics(germqtt: Germqtt, gerrit: Gerrit, subscriber: Session) -> None:
    """Each event arrives once, byte for byte as Python's JSON, and is not retained."""
    events = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
    wait_until_heard(germqtt, gerrit, subscriber)
    # Events that were streamed for the other germqtt may still arrive.
    mark = germqtt.ours(gerrit.mark())
    assert gerrit.mark_until(lambda: any(m.topic == mark for m in subscriber.messages))
    earlier = len(subscriber.messages)
    gerrit.feed(map(json.dumps, events))
    own = germqtt.ours("gerrit/tests/marker"), germqtt.ours("gerrit/germqtt")
    expected = [(germqtt.ours(topic_of(event)), json.dumps(event), False) for event in events]

    def got() -> list[tuple[str, str, bool]]:
        return [(m.topic, m.payload, m.retain) for m in subscriber.messages[earlier:] if not m.topic.startswith(own)]

    # germqtt 0.1.0 holds back the end of a burst until more data follows.
    gerrit.mark_until(lambda: len(got()) >= len(expected))
    # germqtt 0.1.0 opens a connection for each event, so the order is not defined.
    assert got() == expected if germqtt.source == "bundled" else sorted(got()) == sorted(expected)


@pytest.mark.parametrize("path", SECRETS)
def test_only_germqtt_can_read_a_secret(germqtt: Germqtt, path: str) -> None:
    assert germqtt.host.run("runuser --user germqtt -- cat %s", path).succeeded
    assert germqtt.host.run("runuser --user germqtt -- touch %s", path).failed
    assert germqtt.host.run("runuser --user nobody -- cat %s", path).failed


def test_the_unit_always_restarts_and_starts_after_the_broker(germqtt: Germqtt) -> None:
    assert germqtt.show("Restart") == "always"
    assert germqtt.show("StartLimitIntervalUSec") == "0"
    assert "mosquitto.service" in germqtt.show("After").split()


COMPLAINTS = {"bundled": "Host key verification failed", "pypi": "does not match"}


def a_key(folder: pathlib.Path, passphrase: str = "") -> str:
    """A private key that Gerrit does not know."""
    path = folder / f"key{passphrase}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    return path.read_text(encoding="utf-8")


def known_key() -> str:
    """The private key that Gerrit knows."""
    return pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "germqtt_key").read_text(encoding="utf-8")


def assert_refused(run: Run, germqtt: Germqtt, *says: str) -> None:
    """The run failed with these messages, and without those of a working germqtt."""
    [failure, *others] = run.failures[germqtt.name]
    assert others == []
    assert all(each in failure for each in says), failure
    assert " connected" not in failure
    assert "PRIVATE KEY" not in failure


# Variables that a run rejects, and its messages.
REFUSED: dict[str, t.Callable[[pathlib.Path], tuple[dict[str, t.Any], list[str]]]] = {
    "passphrase": lambda folder: (
        {"germqtt_ssh_private_key": a_key(folder, "hunter2")},
        ["germqtt_ssh_private_key: ", "ssh-keygen -p"],
    ),
    "unknown key": lambda folder: (
        {"germqtt_ssh_private_key": a_key(folder)},
        ["germqtt_ssh_private_key, germqtt_gerrit_user: ", "ssh-keygen -y"],
    ),
    "host key": lambda _folder: (
        {"germqtt_gerrit_host_keys": [OTHER_KEY]},
        ["germqtt_gerrit_host_keys: ", "SHA256:", "ssh-keyscan -p 22 "],
    ),
    "port": lambda _folder: ({"germqtt_gerrit_port": 29419}, ["germqtt_gerrit_host, germqtt_gerrit_port: "]),
    "password": lambda _folder: ({"germqtt_mqtt_password": "only-for-tests-wrong"}, ["germqtt_mqtt_password: "]),
}


@pytest.mark.parametrize(
    ("germqtt", "kind"), [*(("bundled", kind) for kind in REFUSED), ("pypi", "host key")], indirect=["germqtt"]
)
def test_invalid_variables_are_rejected_and_the_feed_continues(
    germqtt: Germqtt, gerrit: Gerrit, subscriber: Session, role: Role, tmp_path: pathlib.Path, kind: str
) -> None:
    """Nothing on the host changes, and the same germqtt process publishes. Check mode reports the same problem with Gerrit."""
    files = "find /etc/germqtt /etc/systemd/system/germqtt.service -printf '%p %C@ %m\\n'"

    def state() -> tuple[str, ...]:
        return germqtt.host.check_output(files), germqtt.show("MainPID"), germqtt.show("NRestarts")

    before = state()
    variables, says = REFUSED[kind](tmp_path)
    for check in (True, False) if kind == "host key" else (False,):
        assert_refused(role.run(germqtt.name, check=check, **variables), germqtt, *says)
    assert state() == before
    assert germqtt.host.run("ls -d /run/gerrit_login-*").failed
    wait_until_heard(germqtt, gerrit, subscriber)


@pytest.mark.parametrize("germqtt", ["bundled"], indirect=True)
def test_a_key_with_windows_line_endings_is_the_same_key(germqtt: Germqtt, role: Role) -> None:
    run = role.run(germqtt.name, germqtt_ssh_private_key=known_key().replace("\n", "\r\n"))
    assert run.worked, run.failures
    assert run.changed[germqtt.name] == []


@pytest.fixture
def restarted_upstream() -> t.Iterator[None]:
    """Restart germqtt 0.1.0 afterwards: it follows the same Gerrit, and hangs at an event that is too large."""
    yield
    testinfra.get_host(f"docker://{host_in('pypi')}").check_output("systemctl restart germqtt")


@pytest.mark.usefixtures("restarted_upstream")
@pytest.mark.parametrize("germqtt", ["bundled"], indirect=True)
def test_an_oversized_event_delays_no_other_event(germqtt: Germqtt, gerrit: Gerrit, subscriber: Session) -> None:
    """The broker announces its size limit. germqtt keeps its connection, and publishes a gap for each event."""
    wait_until_heard(germqtt, gerrit, subscriber)
    size = VARIABLES["mosquitto_max_packet_size"]
    large = {"type": "comment-added", "project": "large", "comment": "x" * size}
    connections = germqtt.journal().count(" connected")
    before = len(subscriber.messages)
    begun = time.monotonic()
    gerrit.feed([json.dumps(large)] * 10)
    mark = germqtt.ours(gerrit.mark())
    subscriber.wait_for(topic=mark)
    assert time.monotonic() - begun < 5
    gaps = [m for m in subscriber.messages[before:] if m.topic == f"{germqtt.topic}/germqtt/gap"]
    assert [json.loads(gap.payload)["events"] for gap in gaps] == [1] * 10
    said = f"does not take an event of {len(json.dumps(large))} bytes on {germqtt.topic}/large/comment-added: "
    assert germqtt.journal().count(said) == 10
    assert germqtt.journal().count(" connected") == connections


def test_a_gerrit_with_a_changed_host_key_is_rejected(gerrit: Gerrit, germqtt: Germqtt, subscriber: Session) -> None:
    """germqtt logs the cause. The bundled germqtt also reports it to systemd and to subscribers."""
    wait_until_heard(germqtt, gerrit, subscriber)
    with gerrit.another_host_key():
        gerrit.drop_streams()
        wait_until(lambda: COMPLAINTS[germqtt.source] in germqtt.journal(), "germqtt complained of the key")
        if germqtt.source == "bundled":
            said = "Gerrit refuses germqtt: Host key verification failed."
            # The log may have the message of an earlier test.
            wait_until(lambda: germqtt.show("StatusText").startswith(said), "systemd knows of the key")

            def status() -> tuple[str, str]:
                topic = f"{germqtt.topic}/germqtt/status"
                *_earlier, last = (json.loads(m.payload) for m in subscriber.messages if m.topic == topic)
                return last["state"], last["gerrit"]

            wait_until(lambda: status() == ("online", said.removeprefix("Gerrit ")), "subscribers know of the key")
        unheard = germqtt.ours(gerrit.mark())
    germqtt.host.check_output("systemctl restart germqtt")
    wait_until_heard(germqtt, gerrit, subscriber)
    assert unheard not in {message.topic for message in subscriber.messages}


def test_a_gerrit_without_a_known_host_key_is_rejected(
    gerrit: Gerrit, germqtt: Germqtt, subscriber: Session, role: Role
) -> None:
    """The unit fails. The unit of the bundled germqtt stays failed, since a retry would not help."""
    wait_until_heard(germqtt, gerrit, subscriber)
    germqtt.host.check_output(f"sed --in-place /ssh-ed25519/d {KNOWN_HOSTS}")
    try:
        assert germqtt.host.run("systemctl restart germqtt").failed
        if germqtt.source == "bundled":
            assert (germqtt.show("ActiveState"), germqtt.show("ExecMainStatus")) == ("failed", "78")
            assert f"germqtt.conf: [gerrit] known_hosts: {KNOWN_HOSTS} has no key of " in germqtt.journal()
        else:
            assert "ExecStartPre" in germqtt.host.run("systemctl status --no-pager --full germqtt").stdout
        unheard = germqtt.ours(gerrit.mark())
    finally:
        run = role.run(germqtt.name)
    assert run.worked, run.failures
    assert "Write the keys, the configuration and the unit" in run.changed[germqtt.name]
    wait_until_heard(germqtt, gerrit, subscriber)
    assert unheard not in {message.topic for message in subscriber.messages}
