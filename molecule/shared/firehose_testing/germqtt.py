# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""germqtt and its broker on a core host: status and crashes."""

from __future__ import annotations

import dataclasses
import re
import time
import typing as t

import testinfra.host

from .waiting import wait_until

if t.TYPE_CHECKING:  # pytest has to import its plugins itself
    from .fixtures import Firehose

SETTLE_TIMEOUT = 240
# The start of germqtt's status in that case
CONNECTED = "Gerrit connected; broker connected;"
STALE = "/root/stale"
# Replaces the broker's store, in either format, with garbage. A kept save beside it is removed.
DAMAGE = """cd /var/lib/mosquitto && rm --force *.kept
    for file in mosquitto.*[b3]; do head --bytes 9999 /dev/urandom >$file; done"""


@dataclasses.dataclass(frozen=True)
class Germqtt:
    """The host with the broker and germqtt."""

    firehose: Firehose

    @property
    def host(self) -> testinfra.host.Host:
        return self.firehose.host

    def status(self) -> str:
        """The status that germqtt reports to systemd."""
        return self.host.run("systemctl show --property StatusText --value germqtt").stdout.strip()

    def counts(self) -> dict[str, int]:
        """The numbers of events that germqtt has stored, and that the broker has acknowledged.

        A stream can begin in the middle of a line, since `tail` does so while the line is being written. Such a fragment is not an event.
        """
        numbers = {name: int(number) for number, name in re.findall(r"(\d+) ([a-z]+)", self.status())}
        return {"stored": numbers["stored"] - numbers["unusable"], "acknowledged": numbers["acknowledged"]}

    def repeated(self) -> int:
        """How many events germqtt has published again after the broker lost them."""
        return int(re.findall(r"(\d+) repeated", self.status())[0])

    def connections(self) -> int:
        """How often germqtt has connected to the broker."""
        return int(
            self.host.check_output("journalctl --unit germqtt --output cat | grep --count 'broker .* connected$'")
        )

    def wait_for_end_of(self, connection: int) -> None:
        """Wait until germqtt has lost a connection to the broker. It may have connected again."""
        self.wait_until(
            lambda: "broker connected" not in self.status() or self.connections() > connection,
            f"the end of connection {connection}",
            20,
        )

    def crash(self, *units: str) -> None:
        """Kill services, and wait until germqtt is connected again."""
        before = self.broker()
        self.host.check_output(f"systemctl kill --signal KILL {' '.join(units)}")
        self.wait_until(lambda: self.broker() not in (before, "0"), "the broker is back", 30)
        self.wait_until_connected()

    def lose_store(self, command: str = DAMAGE, *units: str) -> None:
        """Kill the broker and other services, and damage its store, or run another command, before they start again."""
        names = " ".join(["mosquitto", *units])
        self.host.check_output(f"systemctl kill --signal KILL {names}; systemctl stop {names}")
        self.host.check_output(command)
        self.host.check_output(f"systemctl start {names}")
        self.wait_until_connected()

    def lose_writes(self, seconds: float, *units: str) -> None:
        """Kill the broker and other services, and undo their writes of the last seconds on the disk."""
        names = ["mosquitto", *units]
        stores = " ".join(f"/var/lib/{name}" for name in names)
        # A stopped process does not write while its files are copied.
        signal = f"systemctl kill {' '.join(names)} --signal"
        copy = f"rm --recursive --force {STALE} && mkdir {STALE} && cp --archive {stores} {STALE}"
        self.host.check_output(f"{signal} STOP && {copy} && {signal} CONT")
        time.sleep(seconds)
        self.lose_store(f"rm --recursive {stores} && cp --archive {STALE}/. /var/lib", *units)

    def broker(self) -> str:
        """The process id of the accounts broker."""
        return self.host.check_output("systemctl show --property MainPID --value mosquitto")

    def wait_until_connected(self) -> None:
        self.wait_until(lambda: self.status().startswith(CONNECTED), "germqtt is back", 60)

    def wait_until(self, done: t.Callable[[], bool], what: str, timeout: float = SETTLE_TIMEOUT) -> None:
        wait_until(done, what, timeout, lambda: f"germqtt: {self.status()}; {self.journal()}")

    def journal(self) -> str:
        """The last lines of germqtt's log."""
        return self.host.run("journalctl --unit germqtt --lines 15 --no-pager --output cat").stdout

    def works(self) -> bool:
        """Whether germqtt is connected to both sides and idle."""
        status = self.status()
        return status.startswith(CONNECTED) and " 0 waiting," in status
