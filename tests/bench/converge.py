# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The duration of plays, on hosts that have only packages, and on hosts that are already set up."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import secrets
import statistics
import typing as t

import hosts
import yaml
from firehose_testing.clients import QOS1, Account, PahoSubscriber, Way, publish
from measure import BENCH, CHECKOUT, TARGETS_HEADER, BenchError, play, ratio, say, table, target

# The best published role for this job took this part of the usual way's time.
BEST_PUBLIC_ROLE = 0.42


def accounts(number: int) -> list[dict[str, t.Any]]:
    """Names, passwords and a topic for each."""
    return [
        {"name": f"ci-{place}", "password": secrets.token_urlsafe(24), "topic": f"ci/{place}/#"}
        for place in range(1, number + 1)
    ]


def usual_variables(entries: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """The variables of tests/bench/usual.yml."""
    return {"mqtt_accounts": entries}


def role_variables(entries: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """The variables of the role mosquitto."""
    rules = [{"name": entry["name"], "rules": [{"topic": entry["topic"], "access": "write"}]} for entry in entries]
    return {
        "mosquitto_listeners": [{"port": 1883}, {"port": 80, "protocol": "websockets"}],
        "mosquitto_allow_anonymous": True,
        "mosquitto_users": [{"name": entry["name"], "password": entry["password"]} for entry in entries],
        "mosquitto_acl": {"anonymous": [{"topic": "#"}], "users": rules},
    }


def firehose_variables(entries: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """The variables of playbooks/firehose.yml. The last account is germqtt's."""
    publishers = [
        {"name": entry["name"], "password": entry["password"], "topics": [entry["topic"]]} for entry in entries[:-1]
    ]
    germqtt = {"name": "germqtt", "password": entries[-1]["password"], "topics": ["gerrit/#"]}
    listeners = {"firehose_account_listeners": [{"port": 1884}]}
    return {"firehose_publishers": [*publishers, germqtt], **listeners, **hosts.gerrit_variables()}


def no_variables(_entries: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """None."""
    return {}


@dataclasses.dataclass(frozen=True)
class Play:
    """A measured play, and its own host."""

    name: str
    what: str
    playbook: pathlib.Path
    variables: t.Callable[[list[dict[str, t.Any]]], dict[str, t.Any]] = no_variables
    accounts: int = 0
    always_changes: bool = False


PLAYS = [
    Play("ping", "floor: ping alone", BENCH / "ping.yml"),
    Play("floor", "floor: facts, ping", BENCH / "floor.yml"),
    Play("usual1", "usual way, 1 account", BENCH / "usual.yml", usual_variables, 1, True),
    Play("usual40", "usual way, 40 accounts", BENCH / "usual.yml", usual_variables, 40, True),
    Play("role1", "role mosquitto, 1 account", BENCH / "role.yml", role_variables, 1),
    Play("role40", "role mosquitto, 40 accounts", BENCH / "role.yml", role_variables, 40),
    Play("role1000", "role mosquitto, 1000 accounts", BENCH / "role.yml", role_variables, 1000),
    Play("firehose", "whole firehose, 40 publishers", CHECKOUT / "playbooks/firehose.yml", firehose_variables, 40),
]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One run of a play: seconds, numbers of tasks and modules that reached the host, and the tasks that changed it."""

    wall: float
    tasks: int
    modules: int
    changed: list[str]


class Host:
    """A play with its host and its inventory."""

    def __init__(self, of: Play, folder: pathlib.Path) -> None:
        self.play, self.name = of, hosts.container(of.name)
        self._folder = folder / of.name
        self._folder.mkdir()
        self._accounts = accounts(of.accounts)
        # root, since the images have no sudo
        connection = {"ansible_connection": "community.docker.docker", "ansible_user": "root"}
        inventory = {"firehose": {"hosts": {self.name: {}}, "vars": connection | of.variables(self._accounts)}}
        # Each play has its own variables, written as in YAML files of an operator, and so the time to read them is
        # included.
        (self._folder / "inventory.yml").write_text(yaml.safe_dump(inventory, allow_unicode=True), encoding="utf-8")

    def run(self) -> Sample:
        """Run the play once."""
        tasks, modules = self._folder / "tasks.json", self._folder / "modules.txt"
        modules.write_text("", encoding="utf-8")
        timed = play(
            self.play.playbook,
            f"--inventory={self._folder}/inventory.yml",
            ANSIBLE_CALLBACK_PLUGINS=f"{CHECKOUT}/tests/callback_plugins:{BENCH}/callback_plugins",
            ANSIBLE_CALLBACKS_ENABLED="host_tasks,module_executions",
            HOST_TASKS_FILE=tasks,
            MODULE_EXECUTIONS_FILE=modules,
        )
        found = json.loads(tasks.read_text(encoding="utf-8"))[self.name]
        executions = len(modules.read_text(encoding="utf-8").splitlines())
        return Sample(timed.wall, len(found["reached"]), executions, found["changed"])

    def see_that_it_serves(self) -> None:
        """Check that an anonymous subscriber gets only messages that an account publishes on its own topic."""
        if not self._accounts:
            return
        place, name, version = hosts.address(self.play.name), self._accounts[0]["name"], "3.1.1"
        account = Account(name, self._accounts[0]["password"])
        own = Way("tcp", version, account=self.play.name == "firehose")
        try:
            # Other topics have retained messages, such as germqtt's status.
            with PahoSubscriber(place, Way("websockets", version), ["ci/#"]) as public:
                publish(place, Account(), Way("tcp", version), QOS1, {"ci/1/bench": "anybody's"})
                publish(place, account, own, QOS1, {"ci/2/bench": "another topic", "ci/1/bench": name})
                public.wait_for(payload=name)
        except OSError as error:
            raise BenchError(f"{self.name}: the broker does not serve: {error}") from error
        if len(public.messages) != 1:
            raise BenchError(f"{self.name}: the broker let through {public.messages}")


def measure(folder: pathlib.Path, again: int) -> dict[str, list[Sample]]:
    """Run all plays in turn: a first time, a warm-up that is not counted, and `again` times."""
    samples: dict[str, list[Sample]] = collections.defaultdict(list)
    with hosts.containers([each.name for each in PLAYS]):
        machines = [Host(each, folder) for each in PLAYS]
        for turn in range(again + 2):
            for host in machines:
                sample = host.run()
                what = "first run" if turn == 0 else "warm-up" if turn == 1 else f"re-run {turn - 1} of {again}"
                say(f"{what}: {host.play.what}: {sample.wall:.1f} s")
                if turn == 0:
                    host.see_that_it_serves()
                if turn and sample.changed and not host.play.always_changes:
                    raise BenchError(f"{host.play.what}: a re-run changed something: {', '.join(sample.changed)}")
                if turn != 1:
                    samples[host.play.name].append(sample)
    return samples


def counted(numbers: t.Iterable[int]) -> str:
    """A number, or the range of several different ones."""
    found = sorted(set(numbers))
    return "-".join(str(number) for number in sorted({found[0], found[-1]}))


def row(what: str, samples: t.Sequence[Sample]) -> tuple[str, ...]:
    """A row of the table of runs."""
    walls = [sample.wall for sample in samples]
    counts = zip(*((sample.tasks, sample.modules, len(sample.changed)) for sample in samples), strict=True)
    return (
        what,
        f"{statistics.median(walls):.2f}",
        f"{min(walls):.2f}",
        *map(counted, counts),
        " ".join(f"{wall:.2f}" for wall in walls),
    )


def report(samples: t.Mapping[str, t.Sequence[Sample]]) -> str:
    """The tables of all runs, and of the targets."""
    header = ("median", "min", "tasks", "modules", "changed", "seconds of each run")
    first = [row(each.what, samples[each.name][:1]) for each in PLAYS]
    again = [row(each.what, samples[each.name][1:]) for each in PLAYS]
    walls = {name: [sample.wall for sample in those[1:]] for name, those in samples.items()}
    targets = [
        ratio("role / usual way, 40 accounts", walls["role40"], walls["usual40"], 1 / 3),
        ratio("  the same, against the best public role's", walls["role40"], walls["usual40"], BEST_PUBLIC_ROLE),
        ratio("role, 1000 accounts / 1 account", walls["role1000"], walls["role1"], 2),
        target("tasks of the whole firehose", max(sample.tasks for sample in samples["firehose"][1:]), 16),
    ]
    return f"""{table(("first run, packages installed (s)", *header), first)}

{table(("re-run, nothing to do (s)", *header), again)}

{table(TARGETS_HEADER, targets)}

tasks, modules: that reach the host; an item of a loop is a task, and a task executes none, one or more modules.
The usual way always reports a change for each account and restarts the broker.
Targets are for re-runs. A ratio is the median of those of two runs in the same turn.
A first run of the whole firehose downloads germqtt."""
