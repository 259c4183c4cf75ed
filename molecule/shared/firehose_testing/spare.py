# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker beside the role's own, with accounts and rules that the tests can change."""

from __future__ import annotations

import itertools
import textwrap
import time
import typing as t
import uuid

import testinfra.host

from .clients import TIMEOUT, Account, PahoSubscriber, Way

PORT = 2883
FOLDER = "/srv/spare"
CONFIGURATION = f"""\
listener {PORT}
allow_anonymous true
password_file {FOLDER}/passwd
acl_file {FOLDER}/acl
"""
COMMAND = f"--property Type=notify mosquitto -c {FOLDER}/mosquitto.conf"
# Accounts of the tests: one that reports when rules are in force, one that reads everything and one that writes
# everything.
HERALD, READER, WRITER = (Account(name, f"only-for-tests-{name}") for name in ("herald", "reader", "writer"))


class Client(PahoSubscriber):
    """A client that subscribes to everything, and can publish."""

    def __init__(self, address: str, account: Account, client_id: str = "") -> None:
        super().__init__(address, Way("tcp", "5"), ["#", "$x/#"], account, client_id)
        self._acknowledged: set[int] = set()
        self._client.on_publish = lambda *args: self._note(args[2])
        self._client.on_subscribe = lambda *args: self._note_subscription(args[2])

    def _open(self) -> None:
        self._client.connect(self._address, PORT)
        self._client.loop_start()

    def _note(self, number: int) -> None:
        with self._changed:
            self._acknowledged.add(number)
            self._changed.notify_all()

    def _note_subscription(self, number: int) -> None:
        self._note(number)
        self._confirm()

    def publish(self, payloads: t.Mapping[str, str]) -> None:
        """Publish payloads by their topics. Returns when the broker has processed all, dropped or not."""
        numbers = [self._client.publish(topic, payload, qos=1).mid for topic, payload in payloads.items()]
        self._wait(lambda: self._acknowledged.issuperset(numbers), "acknowledgements", TIMEOUT)

    def got(self, payload: str) -> set[str]:
        """The topics on which a payload has arrived. Messages that the broker had for this client before the call are included."""
        number = self._client.subscribe("barrier")[1]
        self._wait(lambda: number in self._acknowledged, "an answer", TIMEOUT)
        return {message.topic for message in self.messages if message.payload == payload}


class SpareBroker:
    """The broker, which runs while it is entered."""

    def __init__(self, host: testinfra.host.Host) -> None:
        self.host = host
        self.address = host.check_output("hostname -i")
        self._states = itertools.count()

    def write(self, name: str, content: str) -> None:
        """Replace a file of the broker's."""
        script = f"cat >{FOLDER}/new && chown mosquitto:mosquitto {FOLDER}/new && chmod 600 {FOLDER}/new && mv {FOLDER}/new {FOLDER}/{name}"
        self.host.check_output("printf %%s %s | { " + script + "; }", content)

    def __enter__(self) -> SpareBroker:
        self.host.check_output(f"mkdir --parents {FOLDER}")
        for name, content in (("mosquitto.conf", CONFIGURATION), ("passwd", ""), ("acl", "")):
            self.write(name, content)
        self.host.check_output("systemd-run --quiet --unit spare " + COMMAND)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.host.check_output("systemctl stop spare")

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Mosquitto."""
        found = self.host.run("mosquitto -h").stdout.split()
        return tuple(int(part) for part in found[found.index("version") + 1].split("."))

    def restart(self) -> None:
        """Restart the broker, since a reload does not report its end."""
        self.host.check_output("systemctl stop spare; systemd-run --quiet --unit spare " + COMMAND)

    def lets_in(self, account: Account) -> bool:
        """Whether an account can log in."""
        try:
            with Client(self.address, account):
                return True
        except ConnectionError as exc:
            assert "refusal" in str(exc), exc
            return False

    def read_again(self) -> None:
        """Make the broker read its accounts and rules."""
        self.host.check_output("systemctl kill --signal HUP spare")

    def take(self, rules: str, herald: Client, writer: Client) -> None:
        """Put rules in force, in addition to those of the tests' own accounts, and return when they are."""
        mark = f"in-force/{next(self._states)}"
        own = f"""
            user herald
            topic read {mark}
            user reader
            topic read #
            topic read $x/#
            user writer
            topic write #
            topic write $x/#
            """
        self.write("acl", rules + textwrap.dedent(own))
        self.read_again()
        deadline = time.monotonic() + TIMEOUT
        payload = str(uuid.uuid4())
        while not herald.got(payload):
            assert time.monotonic() < deadline, "the rules did not come into force"
            writer.publish({mark: payload})
