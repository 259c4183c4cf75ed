# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, which is that of germqtt 0.1.0."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import sqlite3
import ssl
import sys
import typing as t

from . import VERSION, config, service, store, stream

log = logging.getLogger("germqtt")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="germqtt", description="Publish Gerrit's event stream over MQTT.")
    parser.add_argument("-f", "--foreground", action="store_true", help="do not become a daemon")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("conffile", help="the configuration file")
    return parser


def _check(options: config.Config, file: str) -> None:
    """Raise ConfigError for problems that a retry cannot solve."""
    stream.check(options.gerrit, file)
    if options.mqtt.tls:
        try:
            ssl.create_default_context(cafile=options.mqtt.ca_file)
        except OSError as exc:
            problem = f"{options.mqtt.ca_file}: {exc.strerror or exc}"
            raise config.ConfigError(f"{file}: [mqtt] ca_file: {problem}") from None


def _daemon(options: config.Default) -> t.ContextManager[t.Any]:
    """The context that makes the process a daemon, as in germqtt 0.1.0."""
    try:
        pidfile = importlib.import_module("daemon.pidfile")
    except ImportError:
        raise config.ConfigError("to become a daemon takes the package python3-daemon; --foreground does not") from None
    lock = pidfile.TimeoutPIDLockFile(str(options.pidfile), 10)
    return importlib.import_module("daemon").DaemonContext(pidfile=lock)


def main() -> int:
    """Run germqtt. Exits with EX_CONFIG for a wrong local setup, so that systemd does not restart it."""
    arguments = _parser().parse_args()
    try:
        options = config.read(arguments.conffile)
        _check(options, arguments.conffile)
        with contextlib.nullcontext() if arguments.foreground else _daemon(options.default):
            logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
            if options.mqtt.qos != 1:
                log.warning("%s: [mqtt] qos is %d: germqtt publishes at QoS 1", arguments.conffile, options.mqtt.qos)
            kept = store.open_store(options.store, arguments.conffile)
            asyncio.run(service.run(options, kept))
            kept.close()
    except config.ConfigError as exc:
        print(f"germqtt: {exc}", file=sys.stderr)
        return os.EX_CONFIG
    except sqlite3.OperationalError as exc:
        log.error("%s: [store] path: %s: %s", arguments.conffile, options.store.path, exc)
        return os.EX_TEMPFAIL
    return 0
