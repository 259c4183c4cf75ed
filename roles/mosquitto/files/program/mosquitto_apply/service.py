# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query and control the broker's unit through systemctl."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import systemd

from mosquitto_apply import command
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem

# The unit has 90 s to stop, and 15 min to check and restore its store. A process can ask systemd for more time, repeatedly.
RESTART_TIMEOUT = 1000.0


class State(t.NamedTuple):
    """The state of the unit at one moment."""

    # The main process, 0 if there is none
    pid: int
    # Whether it is running or being reloaded
    is_active: bool
    # Whether it starts at boot
    is_enabled: bool
    # Drop-ins that override guarantees of the unit: each a sentence
    conflicts: list[str]
    # Whether systemd needs a daemon-reload
    is_stale: bool
    # Reasons for a restart other than changed files: each a sentence without a subject
    reasons: list[str]


class Service:
    """The unit of one broker."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.name = instance.unit

    def _properties(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for question in (systemd.SHOW_UNIT_PATH, systemd.show(self.name)):
            result = command.run(*question)
            if result.returncode:
                raise Problem(f"systemd says nothing of {self.name}: {result.stderr.strip()}")
            found.update(systemd.parse_properties(result.stdout))
        return found

    def look(self) -> State:
        """Query systemd, and check the administrators' drop-ins."""
        properties = self._properties()
        started = systemd.parse_timestamp(properties.get("ExecMainStartTimestamp", "")) or 0.0
        newest = 0.0
        for path in self.instance.unit_file.with_name(f"{self.instance.unit_file.name}.d").glob("*.conf"):
            with contextlib.suppress(FileNotFoundError):
                newest = max(newest, path.stat().st_ctime, path.stat().st_mtime)
        findings = systemd.inspect(properties, str(self.instance.unit_file))
        newer = ["was started before settings beside its unit were changed"] if newest > started else []
        return State(
            pid=int(properties.get("MainPID") or 0),
            is_active=properties.get("ActiveState") in ("active", "reloading"),
            is_enabled=properties.get("UnitFileState") not in ("", "disabled", "enabled-runtime"),
            conflicts=findings.conflicts,
            is_stale=findings.is_stale,
            reasons=newer + findings.reasons,
        )

    def look_without_overrides(self, expected: str = "") -> State:
        """Return the state. Fail if a drop-in other than the expected one overrides guarantees of the unit."""
        state = self.look()
        problems = [problem for problem in state.conflicts if problem.partition(" ")[0] != expected]
        if problems:
            raise Problem("; ".join(problems))
        return state

    def look_without_obsolete(self, *, check: bool) -> State:
        """Remove the drop-in of release 1.0.0, unless check is set; return the state as above."""
        drop_in = self.instance.obsolete_drop_in
        if not check:
            drop_in.unlink(missing_ok=True)
            # The directory stays if it has other drop-ins.
            with contextlib.suppress(OSError):
                drop_in.parent.rmdir()
        state = self.look_without_overrides(str(drop_in))
        return state._replace(is_stale=state.is_stale or drop_in.exists())

    def enable(self) -> None:
        """Enable the unit, so that it starts at boot."""
        self._tell("enable")

    def reload_units(self) -> None:
        """Reload systemd's units from disk."""
        command.run("systemctl", "daemon-reload")

    def restart(self) -> None:
        """Start or restart the broker, with the unit that is on disk."""
        self.reload_units()
        # A unit that waits for its next automatic restart is started by 'restart', not by 'start'.
        try:
            self._tell("restart", timeout=RESTART_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._tell("kill", "--signal=SIGKILL")
            # The restart continues, and this call waits for it.
            try:
                self._tell("restart", timeout=RESTART_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Problem(f"{self.name} did not restart within {2 * RESTART_TIMEOUT:g} s") from None

    def convert_store(self) -> None:
        """Stop the broker, and convert its store to the format in the configuration on disk."""
        self.reload_units()
        self._tell("stop")
        user = self.instance.user
        as_broker = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--no-new-privs"]
        result = command.run(
            *as_broker, sys.executable, sys.argv[0], "--prepare-store", *filter(None, [self.instance.name])
        )
        if result.returncode:
            raise Problem(result.stderr.strip())

    def reload(self) -> None:
        """Reload the broker. It reads its files before anything that clients send from now on."""
        # Through systemd: a PID that was read from its output could belong to another process by now.
        self._tell("kill", "--kill-whom=main", "--signal=SIGHUP")

    def _tell(self, *words: str, timeout: float | None = None) -> None:
        result = command.run("systemctl", *words, self.name, timeout=timeout)
        if result.returncode:
            raise Problem(f"'systemctl {' '.join(words)} {self.name}' failed. Its last log lines:\n{self.journal()}")

    def journal(self) -> str:
        """The last log lines of the unit."""
        return command.run(*systemd.journal(self.name)).stdout.strip()
