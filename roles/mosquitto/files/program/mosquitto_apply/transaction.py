# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the files in a broker's directory to the running broker, or leave everything as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import typing as t

from mosquitto_apply import command, config, ports, probe, rights, sets, store, trial
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem
from mosquitto_apply.service import Service, State
from mosquitto_apply.sets import Files

# Before 2.1 a reload resets these options of every listener to their defaults, which are no limits.
LOST_BY_OLD_RELOADS = {"max_connections", "max_qos", "max_topic_alias"}
# Errors that roll a change back, including answers of a broker that this program does not understand.
FAULTS = (Problem, OSError, ValueError, LookupError)


@dataclasses.dataclass
class Outcome:
    """The changes that were made, or would be made."""

    # start, restart, reload or empty
    action: str
    # Whether files were installed
    installed: bool
    # Whether the unit was enabled
    enabled: bool
    # Whether systemd needed a daemon-reload
    daemon_reload: bool = False
    # Reasons for a restart, other than changed files
    reasons: list[str] = dataclasses.field(default_factory=list)
    # Warnings for the operator, whatever was done
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or would be."""
        return bool(self.action) or self.installed or self.enabled or self.daemon_reload

    @property
    def summary(self) -> str:
        """A short description of the outcome."""
        if self.action:
            return f"{self.action} ({'; '.join(self.reasons)})" if self.reasons else self.action
        return "new files" if self.installed else "daemon-reload" if self.daemon_reload else "up to date"


def broker_version() -> tuple[int, ...]:
    """The version of the installed broker."""
    said = command.run("/usr/sbin/mosquitto", "-h").stdout
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()


def reload_lifts_limits(files: Files, version: tuple[int, ...]) -> bool:
    """Whether the listeners have limits that a reload would remove."""
    return version < (2, 1) and any(LOST_BY_OLD_RELOADS & set(listener.options) for listener in files.listeners)


def needed_action(loaded: Files | None, wanted: Files, version: tuple[int, ...]) -> str:
    """The action that takes a running broker from the loaded files to the wanted ones: restart, reload or none."""
    if loaded is None:
        return "restart"
    different = wanted.difference(loaded)
    if not different:
        return ""
    readable_again = {line.value for line in config.files(wanted.lines) if line.option in config.RELOADED_FILES}
    fixed = different - readable_again - {str(wanted.instance.config)}
    if fixed or config.needs_restart(loaded.lines, wanted.lines) or reload_lifts_limits(wanted, version):
        return "restart"
    return "reload"


def _words(fault: Exception) -> str:
    return str(fault) if isinstance(fault, Problem) else f"{type(fault).__name__}: {fault}"


class Transaction:
    """One change of one broker."""

    def __init__(self, instance: Instance, timeout: float) -> None:
        self.instance = instance
        self.timeout = timeout
        self.sets = sets.Sets(instance)
        self.service = Service(instance)

    def _action(self, wanted: Files, state: State) -> str:
        if not state.is_active:
            return "start"
        if state.reasons:
            return "restart"
        action = needed_action(sets.load(self.instance, self.sets.loaded()), wanted, broker_version())
        if not action and probe.ask(wanted.listeners, self.timeout).closed:
            # 2.0.11 starts without a listener whose port is taken, and lacks it from then on.
            return "restart"
        return action

    @contextlib.contextmanager
    def _alone(self) -> t.Iterator[None]:
        """Lock the broker against other changes, and then remove the sets that it does not use."""
        with self.sets.locked():
            try:
                yield
            finally:
                self.sets.prune(self.sets.live(), self.sets.loaded())

    def run(self, *, check: bool = False, put_back: bool = False) -> Outcome:
        """Apply the files, and return the outcome. check changes nothing; put_back restores the previous files after a failure."""
        if check and not self.instance.config.exists():
            # Nothing was written yet, and check mode writes nothing.
            return Outcome("start", installed=True, enabled=True)
        with self.sets.locked() if check else self._alone():
            live = sets.load(self.instance, self.sets.live())
            kept = sets.kept(self.instance, self.sets.live())
            wanted = None
            try:
                wanted = sets.find(self.instance, make=not check)
                rights.read(wanted)
                store.see_reserve(wanted.lines, wanted.unit)
                state = self.service.look_without_obsolete(check=check)
                action = self._action(wanted, state)
                outcome = Outcome(action, wanted != live, not state.is_enabled, state.is_stale, state.reasons)
                if outcome.changed and not check:
                    self._bring(wanted, live, outcome)
                outcome.warnings = store.warnings(wanted.lines, wanted.unit)
            except FAULTS as exc:
                if check or not (put_back and kept):
                    raise Problem(_words(exc)) from exc
                raise Problem(f"{_words(exc)}\n{self._put_back(kept, wanted)}") from exc
            return outcome

    def only_put_back(self) -> str:
        """Restore the broker's previous files after a change that failed elsewhere; return which were different."""
        with self.sets.locked():
            kept = sets.kept(self.instance, self.sets.live())
            return self._put_back(kept) if kept else "There is no earlier configuration to go back to."

    def _put_back(self, kept: Files, found: Files | None = None) -> str:
        """Restore the files, and reload systemd: it may have read the replaced unit during a change of another broker."""
        restored = sets.put_back(kept, found)
        if str(self.instance.unit_file) in restored:
            self.service.reload_units()
        return _told(restored)

    def reload(self) -> None:
        """Reload the broker, if its files are valid and a reload is enough for their changes."""
        with self._alone():
            live = sets.load(self.instance, self.sets.live())
            wanted = sets.find(self.instance)
            rights.read(wanted)
            self.service.look_without_overrides()
            version = broker_version()
            loaded = sets.load(self.instance, self.sets.loaded())
            if reload_lifts_limits(wanted, version):
                raise Problem(
                    f"a reload would take limits from its listeners, as Mosquitto before 2.1 does; 'mosquitto-apply {self.instance.name}'"
                    " restarts it if files have changed"
                )
            if needed_action(loaded, wanted, version) == "restart":
                raise Problem(f"what has changed takes a restart: run 'mosquitto-apply {self.instance.name}'")
            self._bring(wanted, live, Outcome("reload", wanted != live, enabled=False))

    def _bring(self, wanted: Files, live: Files | None, outcome: Outcome) -> None:
        previous = self.sets.live()
        if outcome.action:
            self._see_ports(wanted)
        folder = self.sets.add(wanted) if outcome.installed or previous is None else previous
        if outcome.action:
            trial.run(wanted, folder, self.timeout)
        silent = probe.ask(live.listeners, 1).silent if live and outcome.action == "reload" else {}
        if folder != previous:
            self.sets.turn(folder)
        if outcome.daemon_reload:
            self.service.reload_units()
        try:
            self._do(outcome.action, wanted, folder, silent)
        except FAULTS as exc:
            raise Problem(f"{_words(exc)}\n{self._go_back(previous, outcome.action, wanted)}") from exc
        if outcome.enabled:
            self.service.enable()

    def _see_ports(self, wanted: Files) -> None:
        is_active = self.service.look().is_active
        loaded = sets.load(self.instance, self.sets.loaded()) if is_active else None
        if loaded is None and is_active:
            # The loaded set of this broker is unknown, and so are the ports that it has opened itself.
            return
        taken = ports.problems(wanted.listeners, loaded.listeners if loaded else [])
        if taken:
            raise Problem(
                f"{'; '.join(taken)}\n{self.instance.config} is written from mosquitto_listeners, or in a firehose from"
                f" {'firehose_public_brokers' if self.instance.name else 'firehose_account_listeners and firehose_internal_port'}"
            )

    def _do(self, action: str, wanted: Files, folder: pathlib.Path, silent: t.Container[str]) -> None:
        if action == "reload":
            before = self.service.look().pid
            self.service.reload()
            self._see_that_it_serves(wanted, silent)
            if self.service.look().pid != before:
                raise Problem(
                    f"{self.service.name} ended when it was reloaded. Its last log lines:\n{self.service.journal()}"
                )
            if probe.stale_certificates(wanted.listeners, wanted, self.timeout):
                self.service.restart()
        elif action:
            self.service.restart()
            self._see_that_it_serves(wanted, silent)
        if self.service.look().is_active:
            self.sets.note_loaded(folder)

    def _see_that_it_serves(self, wanted: Files, silent: t.Container[str]) -> None:
        """Fail unless each listener answers, except those that were too busy before, and denies what the files forbid."""
        answers = probe.ask(wanted.listeners, self.timeout).all
        problems = [f"{listener} does not serve: {why}" for listener, why in answers.items() if listener not in silent]
        problems += probe.trespass(wanted.listeners, rights.read(wanted), self.timeout)
        if problems:
            raise Problem("; ".join(problems))

    def _go_back(self, previous: pathlib.Path | None, action: str, wanted: Files) -> str:
        """Roll the broker back to its previous set; return the result as a sentence."""
        kept = sets.kept(self.instance, previous)
        if previous is None:
            return "There is no earlier configuration to go back to."
        if kept is None:
            return self._go_back_to_untrusted(previous)
        folder = previous if sets.load(self.instance, previous) else self.sets.add(kept)
        self.sets.turn(folder)
        unit = str(self.instance.unit_file)
        sets.put_back(dataclasses.replace(kept, by_path={unit: kept.by_path[unit]}))
        try:
            if store.uses_plugin(kept.lines) != store.uses_plugin(wanted.lines):
                # The restored unit may be of an earlier version, which does not convert the store.
                self.service.convert_store()
            try:
                self._do("reload" if action == "reload" else "restart", kept, folder, ())
            except FAULTS:
                self._do("restart", kept, folder, ())
        except FAULTS as exc:
            return f"Nor does it serve with its previous configuration: {_words(exc)}"
        return "It serves with its previous configuration again."

    def _go_back_to_untrusted(self, previous: pathlib.Path) -> str:
        """Roll back to a set that an earlier version wrote. Root neither reads its files nor restores them."""
        self.sets.turn(previous)
        try:
            self.service.restart()
        except Problem as exc:
            return f"Nor does it start with its previous configuration: {exc}"
        return (
            "It runs with its previous configuration again. An earlier version of mosquitto-apply wrote that, so that"
            f" the unit and the files below {self.instance.folder} were not put back."
        )


def _told(paths: t.Sequence[str]) -> str:
    return f"Put back as before: {', '.join(paths)}" if paths else "Its files are as before."
