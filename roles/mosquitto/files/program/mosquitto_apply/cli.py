# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys

from mosquitto_apply import command, store, trial
from mosquitto_apply.instance import Instance, every
from mosquitto_apply.problem import Problem
from mosquitto_apply.service import Service
from mosquitto_apply.transaction import Transaction

FAILED = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mosquitto-apply",
        description="Have the Mosquitto at work take over /etc/mosquitto/mosquitto.conf and the files that it names: they are tried out by a"
        " broker beside it first, installed all at once, and taken back if they do not serve.",
    )
    parser.add_argument(
        "instance", nargs="?", default="", help="mosquitto@INSTANCE with /etc/mosquitto-INSTANCE instead"
    )
    parser.add_argument("--all", action="store_true", help="all brokers of this host, one after the other")
    parser.add_argument("--check", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--put-back", action="store_true", help="replace files that the broker cannot take by those that it has"
    )
    parser.add_argument(
        "--only-put-back",
        action="store_true",
        help="replace the files by those that the broker has, and do nothing else",
    )
    parser.add_argument("--reload", action="store_true", help="for ExecReload=: reload in any case, and never restart")
    parser.add_argument(
        "--prepare-store",
        action="store_true",
        help="for ExecStartPre=, as the broker's user: set damaged files with sessions and messages aside, and convert them to the"
        " format that mosquitto.conf names",
    )
    parser.add_argument(
        "--watch-store",
        action="store_true",
        help="for a timer, as the broker's user: log an error if the disk has less room than the reserve, and keep the last whole"
        " mosquitto.db",
    )
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument(
        "--timeout", type=float, default=10, metavar="SECONDS", help="until all listeners have to answer (10)"
    )
    parser.add_argument(trial.ARGUMENT, dest="inside_trial", metavar="SET", help=argparse.SUPPRESS)
    return parser


def _apply(instance: Instance, options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise Problem("this takes root")
    transaction = Transaction(instance, options.timeout)
    if options.reload:
        transaction.reload()
        return
    if options.only_put_back:
        told = transaction.only_put_back()
        print(json.dumps({"told": told}) if options.json else told)
        return
    outcome = transaction.run(check=options.check, put_back=options.put_back)
    if options.json:
        print(json.dumps(dataclasses.asdict(outcome)))
    else:
        print("\n".join(f"{instance.unit}: {text}" for text in (outcome.summary, *outcome.warnings)))


def _apply_all(options: argparse.Namespace) -> None:
    """Apply the changes of all brokers, even if one fails. Brokers that are stopped and disabled are skipped."""
    problems = []
    for instance in every():
        try:
            state = Service(instance).look()
            if state.is_active or state.is_enabled:
                _apply(instance, options)
        except (OSError, Problem) as exc:
            problems.append(f"{instance.unit}: {exc}")
    if problems:
        raise Problem("\n".join(problems))


def main() -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args()
    alone = ("instance", "json", "reload", "only_put_back", "prepare_store", "watch_store")
    if options.all and any(getattr(options, name) for name in alone):
        parser.error(
            "--all goes neither with an instance nor with --json, --reload, --only-put-back, --prepare-store or"
            " --watch-store"
        )
    # Other users must not read the sets.
    os.umask(0o077)
    try:
        instance = Instance(options.instance)
        if options.inside_trial:
            print(json.dumps(trial.inside(instance, pathlib.Path(options.inside_trial), options.timeout)))
        elif options.prepare_store:
            store.prepare(instance)
        elif options.watch_store:
            store.watch(instance)
        elif options.all:
            _apply_all(options)
        else:
            _apply(instance, options)
    except Problem as exc:
        print(
            json.dumps({"problem": str(exc)}) if options.json else f"mosquitto-apply: {command.printable(str(exc))}",
            file=sys.stdout if options.json else sys.stderr,
        )
        return FAILED
    return 0
