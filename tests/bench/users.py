# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of the module mosquitto_users with 10,000 accounts in an up-to-date file."""

from __future__ import annotations

import json
import pathlib
import secrets
import statistics
import sys
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import password_file
from measure import BENCH, TARGETS_HEADER, BenchError, Timed, play, say, table, target

ITERATIONS = password_file.Parameters(101)
NUMBERS = [2_500, 5_000, 10_000]
TURNS = 3


def accounts(number: int) -> list[dict[str, t.Any]]:
    """Accounts as arguments of the module."""
    return [{"name": f"account-{place}", "password": secrets.token_urlsafe(24)} for place in range(number)]


def content(users: t.Sequence[dict[str, t.Any]]) -> str:
    """A password file with all of them."""
    return password_file.render(password_file.merge([], users, ITERATIONS)[0])


def own_work(users: t.Sequence[dict[str, t.Any]], text: str) -> float:
    """Do the work of the module between its arguments and its result; return the CPU seconds."""
    start = time.process_time()
    problems = password_file.user_problems(users, "users")
    lines, changes = password_file.merge(password_file.parse(text), users, ITERATIONS)
    same = password_file.render(lines) == text
    seconds = time.process_time() - start
    if problems or not same or any(vars(changes).values()):
        raise BenchError(f"the accounts are not as they were: {problems} {changes}")
    return seconds


def as_ansible_runs_it(folder: pathlib.Path, tag: str) -> Timed:
    """Run the module, or the one that does nothing."""
    timed = play(
        BENCH / "users.yml",
        "--inventory=localhost,",
        f"--tags={tag}",
        f"--extra-vars=@{folder}/variables.json",
    )
    if "ok=1 " not in timed.output or "changed=0 " not in timed.output:
        raise BenchError(f"mosquitto_users changed something:\n{timed.output[-8000:]}")
    return timed


def report(folder: pathlib.Path) -> str:
    """Measure, and format the results."""
    users = accounts(NUMBERS[-1])
    files = {number: content(users[:number]) for number in NUMBERS}
    say("mosquitto_users: its own work")
    own = {number: [] for number in NUMBERS}
    for _turn in range(TURNS):
        for number in NUMBERS:
            own[number].append(own_work(users[:number], files[number]))

    (folder / "passwd").write_text(files[NUMBERS[-1]], encoding="utf-8")
    (folder / "passwd").chmod(0o600)
    variables = {
        "accounts": users,
        "iterations": ITERATIONS.iterations,
        "password_file": str(folder / "passwd"),
        "ansible_python_interpreter": sys.executable,
    }
    (folder / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
    whole: dict[str, list[Timed]] = {"empty": [], "whole": []}
    for turn in range(TURNS):
        for tag, runs in whole.items():
            runs.append(as_ansible_runs_it(folder, tag))
            say(f"mosquitto_users: {tag} module, run {turn + 1} of {TURNS}: {runs[-1].wall:.1f} s")

    def row(what: str, seconds: t.Sequence[float]) -> tuple[str, ...]:
        each = " ".join(f"{one:.2f}" for one in seconds)
        return (what, f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f}", each)

    rows = [row(f"own work, {number} accounts", seconds) for number, seconds in own.items()]
    names = {"empty": "a module that does nothing", "whole": "mosquitto_users"}
    for tag, what in names.items():
        rows.append(row(f"{what}, CPU", [one.cpu for one in whole[tag]]))
        rows.append(row(f"{what}, wall time", [one.wall for one in whole[tag]]))
    differences = [one.cpu - other.cpu for one, other in zip(whole["whole"], whole["empty"], strict=True)]
    # Other load of the machine can only increase the time of a run.
    least = min(one.cpu for one in whole["whole"]) - min(one.cpu for one in whole["empty"])
    growth = min(own[NUMBERS[-1]]) / min(own[NUMBERS[0]]) / (NUMBERS[-1] / NUMBERS[0])
    targets = [
        target("own work, 10000 accounts (s CPU)", statistics.median(own[NUMBERS[-1]]), 5, own[NUMBERS[-1]]),
        target("  for each account, 10000 / 2500 accounts", growth, 1.25),
        target("mosquitto_users - a module that does nothing (s CPU)", least, 2, differences),
    ]
    header = (f"{NUMBERS[-1]} accounts, {ITERATIONS.iterations} iterations (s)", "median", "min", "each")
    return f"""{table(header, rows)}

{table(TARGETS_HEADER, targets)}

Own work: parse the file, verify all passwords, render the file. The difference is between the least of each.
The rest is Ansible's: it masks secrets, which grows with the square of their number."""
