# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands, measure them, and check targets."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import typing as t

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
BENCH = CHECKOUT / "tests/bench"


class BenchError(Exception):
    """The reason why there is no result."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """The time of a command in seconds, elapsed and CPU, and its output."""

    wall: float
    cpu: float
    output: str


def say(text: str) -> None:
    """Report progress, apart from the results."""
    print(f"== {text}", file=sys.stderr, flush=True)


def children_cpu() -> float:
    """CPU seconds of all ended children, and of their children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(*command: str | os.PathLike[str], limit: int = 120, **environment: str | os.PathLike[str]) -> Timed:
    """Run a command that must succeed within `limit` seconds. Its processes end with it."""
    env = os.environ | {name: os.fspath(value) for name, value in environment.items()}
    cpu, start = children_cpu(), time.monotonic()
    with subprocess.Popen(
        ["timeout", "--kill-after=10", str(limit), *command],
        cwd=CHECKOUT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, _errors = process.communicate()
        except BaseException:
            process.terminate()  # timeout(1) passes it on
            raise
    wall, cpu = time.monotonic() - start, children_cpu() - cpu
    if process.returncode != 0:
        why = f"did not end within {limit} s" if process.returncode == 124 else f"ended with {process.returncode}"
        raise BenchError(f"{' '.join(map(os.fspath, command))} {why}:\n{output[-8000:]}")
    return Timed(wall, cpu, output)


def play(
    playbook: pathlib.Path | str, *options: str | os.PathLike[str], limit: int = 300, **environment: t.Any
) -> Timed:
    """Run a playbook, which must succeed without a warning."""
    timed = run(
        pathlib.Path(sys.executable).with_name("ansible-playbook"),
        playbook,
        *options,
        limit=limit,
        ANSIBLE_NOCOLOR="1",
        **environment,
    )
    if "WARNING]" in timed.output:
        raise BenchError(f"{playbook} made Ansible warn:\n{timed.output[-8000:]}")
    return timed


def table(header: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    """Format rows below a header: the first column left-aligned, the others right-aligned."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip() for first, *others in lines
    )


def target(what: str, value: float, most: float, spread: t.Sequence[float] = ()) -> tuple[str, ...]:
    """A row of a table of targets."""
    return _target(what, value, f"{most:.3g}", value <= most, spread)


def _target(what: str, value: float, bound: str, met: bool, spread: t.Sequence[float]) -> tuple[str, ...]:
    between = f"{min(spread):.2f} to {max(spread):.2f}" if spread else ""
    return (what, f"{value:.3g}", between, bound, "met" if met else "missed")


TARGETS_HEADER = ("target", "measured", "spread", "at most", "")
# The hardware for which some targets are defined
ALL_TARGETS_HEADER = ("target", "measured", "spread", "wanted", "")


def ratio(what: str, above: t.Sequence[float], below: t.Sequence[float], most: float) -> tuple[str, ...]:
    """A row for values measured in pairs, one right after the other: the median of the pairs' ratios."""
    ratios = _ratios(above, below)
    return target(what, statistics.median(ratios), most, ratios)


def at_least(what: str, above: t.Sequence[float], below: t.Sequence[float], least: float) -> tuple[str, ...]:
    """The same for a minimum ratio."""
    ratios = _ratios(above, below)
    value = statistics.median(ratios)
    return _target(what, value, f"at least {least:.3g}", value >= least, ratios)


def _ratios(above: t.Sequence[float], below: t.Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]
