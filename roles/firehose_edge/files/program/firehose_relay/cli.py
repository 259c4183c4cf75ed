# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the relay under systemd."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import secrets
import signal
import sys

from systemd import daemon

from . import nats
from .core import Core
from .relay import Relay


def _client_id(file: pathlib.Path) -> str:
    """That of the session at the core. Whoever knows it, and the account's password, could take the session over."""
    if not file.exists():
        new = file.with_suffix(".new")
        new.write_text(f"firehose-relay-{secrets.token_hex(16)}", encoding="ascii")
        new.rename(file)
    return file.read_text(encoding="ascii")


def main() -> int:
    """Usage: firehose-relay CONFIG CLIENT_ID_FILE. The former is JSON: whom to connect to, and who may publish what.

    The password for NATS is in the environment.
    """
    config, client_id_file = map(pathlib.Path, sys.argv[1:])
    options = json.loads(config.read_text(encoding="utf-8"))
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    core = Core(**options["core"], client_id=_client_id(client_id_file))
    relay = Relay(
        core,
        lambda: nats.connected(**options["nats"], password=os.environ["FIREHOSE_RELAY_PASSWORD"]),
        {user["name"]: [rule["topic"] for rule in user["rules"]] for user in options["publishers"]},
        lambda line: daemon.notify(f"STATUS={line}\nWATCHDOG=1"),
    )
    signal.signal(signal.SIGTERM, lambda *_args: relay.stop())
    daemon.notify("READY=1")
    relay.run()
    core.stop()
    return 0
