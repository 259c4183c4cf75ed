# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pytest plugin of the scenario rotation: its run of the playbook, and the states before, during and after it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import typing as t
import uuid

import pytest
import yaml
from testinfra.utils.ansible_runner import AnsibleRunner

from .clients import ACCOUNT_WAYS, QOS1, WAYS, Account, PahoSubscriber, Way, publish
from .gerrit import Gerrit
from .runs import Run, run_playbook
from .sampling import sampling
from .sessions import Session, count

if t.TYPE_CHECKING:  # pytest has to import its plugins itself
    from .fixtures import Firehose, Firehoses

pytest_plugins = ["firehose_testing.fixtures"]

SCENARIO = pathlib.Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
AFTER_FILE = SCENARIO / "vars/after.yml"
FILES = ["/etc/mosquitto/passwd", "/etc/mosquitto/acl", "/etc/germqtt/germqtt.conf"]
TCP, ACCOUNT_TCP = Way("tcp", "3.1.1"), Way("tcp", "3.1.1", account=True)
# The prefix of all passwords, and of all hashes that the role makes.
SECRET_MARKS = ["only-for-tests", "$7$"]
FENCE = "ci"  # an account that does not change


def _accounts(entries: list[dict[str, t.Any]], passwords: dict[str, str]) -> dict[str, Account]:
    return {
        entry["name"]: Account(entry["name"], password, tuple(entry["topics"]))
        for entry in entries
        if (password := entry.get("password") or passwords.get(entry["name"]))
    }


_INVENTORY = yaml.safe_load((SCENARIO / "group_vars/firehose.yml").read_text(encoding="utf-8"))
_CHANGED = yaml.safe_load(AFTER_FILE.read_text(encoding="utf-8"))
# The publishers before and after the rotation.
BEFORE, AFTER = (
    _accounts(variables["firehose_publishers"], _INVENTORY["passwords_of_hashes"])
    for variables in (_INVENTORY, _CHANGED)
)
# One topic of each publisher, before and after.
TOPICS = sorted(
    {
        own.replace("#", "a").replace("+", "a")
        for account in [*BEFORE.values(), *AFTER.values()]
        for own in account.topics
    }
)


def is_let_in(firehose: Firehose, account: Account, way: Way) -> bool:
    """Whether an account can log in. No answer is an error."""
    try:
        with PahoSubscriber(firehose.address, way, ["none"], account):
            return True
    except ConnectionError as exc:
        if "a refusal" not in str(exc):
            raise
        return False


def reached(firehose: Firehose, account: Account, way: Way, topics: t.Sequence[str] = TOPICS) -> set[str]:
    """Try to publish on topics. Returns the topics on which anonymous clients received it."""
    payload, fence = str(uuid.uuid4()), str(uuid.uuid4())
    with PahoSubscriber(firehose.address, TCP) as public:
        publish(firehose.address, account, way, QOS1, dict.fromkeys(topics, payload))
        # Once this has arrived, the attempt has arrived too, if it does at all.
        publish(firehose.address, AFTER[FENCE], ACCOUNT_TCP, QOS1, {"ci/fence": fence})
        public.wait_for(payload=fence)
        return {message.topic for message in public.messages if message.payload == payload}


def own_topics(account: Account) -> set[str]:
    """The expected result of reached() for an account that can log in."""
    return {topic for topic in TOPICS if account.may_publish(topic)}


@dataclasses.dataclass(frozen=True)
class State:
    """The state of a host at a moment: services, processes, files with accounts and rules, and other changes."""

    services: dict[str, str]
    processes: dict[str, str]
    files: dict[str, str]
    owners: dict[str, str]
    touched: set[str]


MARK = "/run/last-look"
# Paths that change by themselves on any managed host, and mounts, which `find` does not search.
NOISE = ("/root/.ansible/tmp", "/run", "/tmp", "/var/lib/germqtt", "/var/lib/mosquitto", "/var/log/journal", "/var/tmp")


def state(firehose: Firehose) -> State:
    """Record the state of a host. `touched` has the paths whose content, permissions or names have changed since the last call."""
    host = firehose.host
    shown = host.check_output(
        "systemctl show --property Id,Type,ActiveState,SubState,UnitFileState,MainPID,NRestarts '*.service'"
    )
    units = [dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown.split("\n\n")]
    services = {unit.pop("Id"): unit for unit in units if unit["Type"] != "oneshot"}
    processes = {name: unit.pop("MainPID") for name, unit in services.items()}
    touched = host.check_output(
        f"test -e {MARK} || touch {MARK}; find / -xdev -cnewer {MARK}; sleep 0.01; touch {MARK}"
    ).splitlines()
    files = [path for path in FILES if host.file(path).exists]
    return State(
        services={name: " ".join(unit.values()) for name, unit in services.items()},
        processes=processes,
        files={path: host.file(path).content_string for path in files},
        owners={path: host.check_output("stat --format '%%U %%G %%a' %s", path) for path in files},
        touched={path for path in touched if not path.startswith(NOISE)},
    )


def session(firehose: Firehose, account: Account, way: Way) -> Session:
    """A client that stays connected, and can publish.

    Mosquitto 2.0.21 may crash when a reload disconnects a client over websockets that has a keepalive: docs/faults.md.
    """
    return Session(firehose.address, way.port, account, [], way, 0 if way.transport == "websockets" else 60)


@dataclasses.dataclass
class Counter:
    """A client that published 0, 1, 2 ... during all runs, and its number when the rotation began and ended."""

    sender: Session
    topic: str
    published: t.Callable[[], list[str]]
    marks: list[int] = dataclasses.field(default_factory=list)
    ended: str | None = None  # the cause, if the test did not end it

    def mark(self) -> None:
        self.marks.append(len(self.published()))


@dataclasses.dataclass
class Story:
    """The rotation: a run in check mode, the run itself, and another run that changes nothing.

    Meanwhile anonymous clients subscribe over every way, clients of an unchanged account publish, and clients of all
    earlier accounts stay connected, if the broker does not disconnect them.
    """

    predicted: Run
    run: Run
    repeated: Run
    # the attributes below are by host
    states: dict[str, list[State]]  # before and after each of the runs
    reached_before: dict[str, dict[str, set[str]]]
    public: dict[str, list[PahoSubscriber]]
    counters: dict[str, list[Counter]]
    connected: dict[str, dict[tuple[str, Way], Session]]
    # arguments and environments of processes that had a secret
    exposed: dict[str, list[list[str]]]


@pytest.fixture(scope="session")
def feeds() -> set[str]:
    """The hosts where germqtt runs."""
    return set(AnsibleRunner.get_runner(os.environ["MOLECULE_INVENTORY_FILE"]).get_hosts("feed"))


@contextlib.contextmanager
def _counting(firehose: Firehose, way: Way) -> t.Iterator[Counter]:
    topic = f"ci/{way}"
    with session(firehose, AFTER[FENCE], way) as sender:
        try:
            with count(sender, topic) as published:
                counter = Counter(sender, topic, published)
                yield counter
        except ConnectionError as exc:
            counter.ended = str(exc)


@pytest.fixture(scope="session")
def story(firehoses: Firehoses, feeds: set[str], gerrit: Gerrit) -> t.Iterator[Story]:
    """The rotation, which runs once, on hosts in the state after converge."""
    rotate = "--diff", "-vvv", "--extra-vars", f"@{AFTER_FILE}"
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as publishing:
        enter = stack.enter_context
        reached_before = firehoses.each(
            lambda host: {name: reached(host, BEFORE[name], ACCOUNT_TCP) for name in BEFORE}
        )
        public = firehoses.each(lambda host: [enter(PahoSubscriber(host.address, way)) for way in WAYS])
        connected = firehoses.each(
            lambda host: {
                (name, way): enter(session(host, BEFORE[name], way)) for name in BEFORE for way in ACCOUNT_WAYS
            }
        )
        gerrit.wait_until_heard([subscriber for name in feeds for subscriber in public[name]])
        counters = firehoses.each(
            lambda host: [
                publishing.enter_context(_counting(host, way))
                for way in (ACCOUNT_TCP, Way("websockets", "5", account=True))
            ]
        )

        sampled = firehoses.each(lambda host: publishing.enter_context(sampling(host.host, SECRET_MARKS)))
        states = [firehoses.each(state)]
        runs = []
        for options in (["--check"], [], []):
            runs.append(run_playbook(*rotate, *options))
            states.append(firehoses.each(state))
            for counter in (counter for of_host in counters.values() for counter in of_host):
                counter.mark()
        # A process that the samplers must find.
        firehoses.each(lambda host: host.host.check_output(f"timeout 5 sh -c 'sleep 9' {SECRET_MARKS[0]}-control || :"))
        exposed = {name: found() for name, found in sampled.items()}
        publishing.close()
        yield Story(
            *runs,
            states={name: [at[name] for at in states] for name in firehoses},
            reached_before=reached_before,
            public=public,
            counters=counters,
            connected=connected,
            exposed=exposed,
        )
