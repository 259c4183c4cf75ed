# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario change: one change at a time, with connected clients at each broker."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

import pytest

from firehose_testing.brokers import ACCOUNTS, PROJECT, TCP, WEBSOCKETS, Broker, Brokers, Role
from firehose_testing.clients import ANONYMOUS, Account

from .change import Change
from .crowd import Crowd, Losses

pytest_plugins = ["firehose_testing.brokers"]

LONG = os.environ.get("CHANGE") == "long"
STATE = """
cd /etc/mosquitto && find . /etc/systemd/system/mosquitto.service* -type f ! -path './sets/*' ! -name '*example' -exec stat --format '%n %a %U %G' {} + |
sort && find . -type f ! -path './sets/*' -exec sha256sum {} + | sort && readlink live && sha256sum /etc/systemd/system/mosquitto.service
"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a change at one broker."""

    failed: bool
    said: str
    losses: Losses
    files: tuple[str, str]
    process: tuple[str, str]
    loaded: tuple[str, str]
    opened: list[str]

    @property
    def action(self) -> str:
        """The action of the broker."""
        if self.process[0] != self.process[1]:
            return "restart"
        return "reload" if self.loaded[0] != self.loaded[1] else ""


def _opened(broker: Broker) -> list[str]:
    """Unauthorized accesses that succeed."""
    found = []
    for port, way in ((1883, TCP), (80, WEBSOCKETS)):
        if broker.lets_in(Account("feed", None), port=port, way=way):
            found.append(f"a claimed name gets in at {port}")
        with broker.session("stranger/#") as watcher, broker.session(account=ANONYMOUS, port=port, way=way) as stranger:
            stranger.publish("stranger/a", "mine")
            watcher.fence()
            if watcher.got("mine"):
                found.append(f"anybody can publish at {port}")
    return found


class Changes:
    """Applies changes to all brokers at once."""

    def __init__(self, brokers: Brokers, role: Role, crowds: dict[str, Crowd]) -> None:
        self._brokers, self._role, self._crowds = brokers, role, crowds
        self._all_is_well = True

    def _bring(self, change: Change) -> dict[str, tuple[bool, str]]:
        """Whether the change failed, and its messages, by broker."""
        if change.command:
            results = self._brokers.each(lambda broker: broker.host.run(change.command))
            return {name: (result.rc != 0, result.stdout + result.stderr) for name, result in results.items()}
        run = self._role.run(**change.variables)
        return {name: (name in run.failed_hosts, "\n".join(run.failures[name])) for name in self._brokers}

    def settle(self) -> None:
        """Restore the initial state, with all clients connected."""
        if not self._all_is_well:
            self._role.ensure()
        self._all_is_well = False
        for crowd in self._crowds.values():
            crowd.settle()

    def opened(self) -> dict[str, list[str]]:
        """Unauthorized accesses that succeed, by broker."""
        return self._brokers.each(_opened)

    def make(self, change: Change) -> dict[str, Outcome]:
        """Apply a change to the initial state. Returns the results by broker."""
        self.settle()
        with contextlib.ExitStack() as stack:
            stack.callback(self._brokers.each, lambda broker: broker.host.check_output(change.afterwards))
            self._brokers.each(lambda broker: broker.host.check_output(change.before))
            before = self._brokers.each(_look)
            brought = self._bring(change)
            after = self._brokers.each(_look)
            losses = {name: crowd.losses for name, crowd in self._crowds.items()}
            opened = self.opened()
        outcomes = {
            name: Outcome(*brought[name], losses[name], *zip(before[name], after[name], strict=True), opened[name])
            for name in self._brokers
        }
        self._all_is_well = all(it.files[0] == it.files[1] and not it.action for it in outcomes.values())
        _note(change, outcomes)
        return outcomes


def _look(broker: Broker) -> tuple[str, str, str]:
    return broker.host.check_output(STATE), broker.show("MainPID"), broker.loaded()


@pytest.fixture(scope="session")
def changes(brokers: Brokers, role: Role) -> t.Iterator[Changes]:
    """Changes, while clients are connected to each broker."""
    feed = ACCOUNTS["feed"]
    role.ensure()
    with contextlib.ExitStack() as stack:
        crowds = {
            name: stack.enter_context(Crowd(broker.address, feed.name, str(feed.password)))
            for name, broker in brokers.items()
        }
        yield Changes(brokers, role, crowds)


TABLE = PROJECT / ".cache/change.md"
ROWS = [
    "| change | broker | outcome | lost | rights opened | files | said |",
    "|---|---|---|---|---|---|---|",
]


def _note(change: Change, outcomes: dict[str, Outcome]) -> None:
    """Record the result of a change for the table."""
    for name, it in outcomes.items():
        said = it.said.splitlines()[0][:90] if it.failed and it.said else ""
        lost = f"{it.losses.connections} connections, {it.losses.events} events"
        same = "as before" if it.files[0] == it.files[1] else "changed"
        ROWS.append(
            f"| {change.name} | {name} | {'failed' if it.failed else it.action or 'nothing'} | {lost} | {len(it.opened)} | {same} | {said} |"
        )


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """Show the result of each change."""
    terminalreporter.write_sep("=", f"changes (also in {TABLE})")
    terminalreporter.write_line("\n".join(ROWS))
    TABLE.write_text("\n".join(ROWS) + "\n", encoding="utf-8")


def chosen(changes: t.Iterable[Change]) -> list[t.Any]:
    """The changes of the selected form of the scenario, as parameters."""
    return [pytest.param(change, id=change.name) for change in changes if LONG or change.short]
