# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the action that a systemd service needs, from ``systemctl show``, its unit's files and its process."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import re
import shlex
import typing as t

# The properties of a loaded unit that are compared with its files.
COMPARED = ("ExecStart", "ExecReload", "User", "Group")
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "MainPID",
    "ExecMainStartTimestamp",
    "ActiveEnterTimestamp",
    "StatusText",
    "Names",
    "FragmentPath",
    *COMPARED,
)
# The directory that exists where systemd runs, by sd_booted(3).
BOOTED = "/run/systemd/system"
# The command that shows systemd's directories of units and drop-ins, in order of precedence.
SHOW_UNIT_PATH = ("systemctl", "show", "--property=UnitPath")

# LXC and Incus images generate this drop-in at each boot for all services of a container. It cannot be removed.
OF_THE_CONTAINER = pathlib.Path("/run/systemd/system/service.d/zzz-lxc-service.conf")

# A service that notifies systemd when its reload is complete is "reloading" until then.
UP = ("active", "reloading")

# Settings of [Service] that decide on a service's program, files, user and privileges. Of a single value the last counts, lists
# add up. A drop-in may add to extensible settings, which run other programs beside the main one.
SINGLE = (
    "DynamicUser",
    "Group",
    "NoNewPrivileges",
    "NotifyAccess",
    "RootDirectory",
    "RootImage",
    "StandardInput",
    "Type",
    "User",
)
LISTS = (
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "ExecReload",
    "ExecStart",
    "StandardInputData",
    "StandardInputText",
)
EXTENSIBLE = ("ExecStartPost", "ExecStartPre")

# The directories of installed programs and libraries. Files elsewhere, as in /tmp, may be deleted on purpose.
INSTALLED = ("/bin/", "/lib", "/opt/", "/sbin/", "/usr/")
DELETED = " (deleted)"
# The arguments that HAProxy puts before its own when it re-executes itself for a reload.
REEXECUTED = re.compile(r"-sf|-st|-x|\d+|sockpair@\d+")


def show(name: str) -> list[str]:
    """The command that asks for the properties of a unit."""
    return ["systemctl", "show", name, "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}"]


def journal(name: str) -> list[str]:
    """The command that shows the last log lines of a unit, in any journal namespace."""
    return ["journalctl", "--namespace=*", f"--unit={name}", "--lines=15", "--output=cat", "--no-pager"]


def parse_properties(output: str) -> dict[str, str]:
    """Parse the lines ``name=value``. A repeated property has a line for each of its values.

    Values can come from a service's own user. systemd escapes a line feed in them, but no other line break.
    """
    found: dict[str, str] = {}
    for name, value in (line.split("=", 1) for line in output.split("\n") if "=" in line):
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def parse_timestamp(text: str) -> float | None:
    """Seconds since the epoch from ``systemctl show --timestamp=us+utc``, None for never."""
    if not text or text == "n/a":
        return None
    # Without the day of the week, which Python would expect in the language of the host.
    moment = datetime.datetime.strptime(text.partition(" ")[2], "%Y-%m-%d %H:%M:%S.%f UTC")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def _started(properties: t.Mapping[str, str]) -> float:
    """The start time of the main process, or of a socket, which has no process."""
    name = "ExecMainStartTimestamp" if "ExecMainStartTimestamp" in properties else "ActiveEnterTimestamp"
    return parse_timestamp(properties.get(name, "")) or 0.0


def needed_action(
    properties: t.Mapping[str, str],
    *,
    restart_files_changed: float,
    reload_files_changed: float,
    last_read: float,
) -> str:
    """Name the action that applies the service's files: start, restart, reload, or none (empty).

    The times are seconds since the epoch, 0 for never: the newest change of the files that a restart and that a reload reads, and
    the time when the service last read the latter.
    """
    if properties.get("ActiveState") not in UP:
        return "start"
    started = _started(properties)
    if restart_files_changed > started:
        return "restart"
    if reload_files_changed > max(started, last_read):
        return "reload"
    return ""


def state(action: str, reasons: t.Sequence[str], *, is_stale: bool) -> str:
    """Describe the state of a service before the action that it needs."""
    if action == "restart" and reasons:
        return f"needs a restart: {'; '.join(reasons)}"
    if action:
        return "not running" if action == "start" else f"needs a {action}"
    return "needs a daemon-reload" if is_stale else "up to date"


# ---- the files of a unit ---------------------------------------------------------------------------------------------


class Unit(t.NamedTuple):
    """A unit file or a drop-in: its path, and the settings of [Service] in their order."""

    path: str
    settings: list[tuple[str, str]]


def parse_unit(path: str, text: str) -> Unit:
    """Parse a unit file or drop-in by systemd.syntax(7)."""
    section, settings, continued = "", [], ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            continue
        if stripped.endswith("\\"):
            continued += f"{stripped[:-1]} "
            continue
        stripped, continued = f"{continued}{stripped}".strip(), ""
        if stripped.startswith("["):
            section = stripped
        elif section == "[Service]" and "=" in stripped:
            name, _equals, value = stripped.partition("=")
            settings.append((name.strip(), value.strip()))
    return Unit(path, settings)


def _values(units: t.Iterable[Unit], setting: str) -> list[str]:
    """The values of a setting in all these files, each of which can reset those of earlier files."""
    values: list[str] = []
    for value in (value for unit in units for name, value in unit.settings if name == setting):
        values = [*values, value] if value else []
    return values[-1:] if setting in SINGLE else list(dict.fromkeys(values))


def overrides(unit: Unit, drop_ins: t.Sequence[Unit]) -> list[str]:
    """Name each decisive setting of a unit that drop-ins change, with the last drop-in that has it."""
    files = [unit, *drop_ins]
    changed = [name for name in (*LISTS, *SINGLE) if _values(files, name) != _values([unit], name)]
    changed += [name for name in EXTENSIBLE if not set(_values([unit], name)) <= set(_values(files, name))]
    by_setting = {name: drop_in.path for drop_in in drop_ins for name, _value in drop_in.settings}
    return [f"{by_setting[name]} overrides {name} of {unit.path}: remove {name} from it" for name in changed]


def drop_in_names(names: t.Iterable[str]) -> list[str]:
    """The drop-in directories of a unit, without ``.d``: its own, its template's, and that of all services."""
    found = []
    for name in names:
        prefix, at, instance = re.sub(r"\.service\Z", "", name).partition("@")
        for end in dict.fromkeys([f"{at}{instance}", at]):
            shorter = [prefix[: dash.end()] for dash in re.finditer("-", prefix)]
            found += [f"{start}{end}.service" for start in (prefix, *reversed(shorter))]
    return [*dict.fromkeys(found), "service"]


def _found_drop_ins(names: t.Iterable[str], unit_path: t.Sequence[str]) -> list[pathlib.Path]:
    """The drop-ins on disk, in the order in which they are read. Of several with the same name the first counts."""
    found: dict[str, pathlib.Path] = {}
    for directory in (pathlib.Path(folder, f"{name}.d") for name in drop_in_names(names) for folder in unit_path):
        for path in directory.glob("*.conf"):
            if path != OF_THE_CONTAINER:
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


# ---- the state of systemd and of the process -------------------------------------------------------------------------


def command_words(command: str) -> list[str]:
    """The words of a command of a unit; empty if it has specifiers, escapes, or a path that is not absolute."""
    try:
        words = shlex.split(command.lstrip("-:+!|"))
    except ValueError:
        return []
    return [] if set("%\\") & set(command) or not words or not words[0].startswith("/") else words


def _unquoted(command: str) -> str:
    """A command without its quotes, which systemd shows or not, depending on its version."""
    return " ".join(re.sub("[\"']", "", command).split())


def is_stale(properties: t.Mapping[str, str], unit: Unit) -> bool:
    """Return whether systemd's settings differ from the unit's files, so that it needs a daemon-reload."""
    if properties.get("NeedDaemonReload") == "yes" or properties.get("FragmentPath") != unit.path:
        return True
    for name in COMPARED:
        wanted, shown = _values([unit], name), properties.get(name, "")
        if name.startswith("Exec"):
            words = [command_words(value) for value in wanted]
            commands = re.findall(r"argv\[\]=(.*?) ; ignore_errors=", shown)
            if all(words) and [_unquoted(" ".join(known)) for known in words] != list(map(_unquoted, commands)):
                return True
        elif "".join(wanted) != shown:
            return True
    return False


def runs_command(running: t.Sequence[str], words: t.Sequence[str]) -> bool:
    """Return whether a process runs a command, maybe after an interpreter or with arguments for a re-execution."""
    if list(running[-len(words) :]) == list(words):
        return len(running) == len(words) or running[0] != words[0]
    between = running[1 : len(running) - len(words) + 1]
    same = running[:1] == words[:1] and running[len(between) + 1 :] == words[1:]
    return same and all(REEXECUTED.fullmatch(word) for word in between)


def deleted_files(maps: str) -> list[str]:
    """The removed or replaced programs and libraries that a process executes, from its ``/proc/PID/maps``."""
    found = set()
    for fields in (line.split(maxsplit=5) for line in maps.split("\n")):
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith(INSTALLED) and fields[5].endswith(DELETED):
            found.add(fields[5][: -len(DELETED)])
    return sorted(found)


def _replaced(properties: t.Mapping[str, str]) -> list[str]:
    """The installed programs and libraries that were replaced since the main process started."""
    try:
        return deleted_files(pathlib.Path("/proc", properties["MainPID"], "maps").read_text(errors="replace"))
    except PermissionError:
        # A container without CAP_SYS_PTRACE: only the change time of the program itself is known.
        [program] = re.findall(r"\bpath=(\S+) ;", properties.get("ExecStart", ""))[:1] or [""]
        started = parse_timestamp(properties.get("ExecMainStartTimestamp", "")) or 0.0
        return [program] if program and os.stat(program).st_ctime > started else []


class Findings(t.NamedTuple):
    """The problems of a service, apart from the files that it reads."""

    # Drop-ins that override settings of the unit: each a sentence. Only an administrator can decide about them.
    conflicts: list[str]
    # Whether systemd needs a daemon-reload.
    is_stale: bool
    # The reasons for a restart: each a sentence without a subject.
    reasons: list[str]


def inspect(properties: t.Mapping[str, str], unit_file: str | None) -> Findings:
    """Compare a service with its unit's files and its installed programs. Without a unit file, only with the latter."""
    conflicts, stale, reasons = [], properties.get("NeedDaemonReload") == "yes", []
    has_process = properties.get("MainPID", "0") != "0"
    # Meanwhile the process may have ended, and a drop-in may have been removed. The next run sees the new state.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if unit_file is not None:
            unit = parse_unit(unit_file, pathlib.Path(unit_file).read_text(errors="replace"))
            paths = _found_drop_ins(properties["Names"].split(" "), properties["UnitPath"].split(" "))
            drop_ins = [parse_unit(str(path), path.read_text(errors="replace")) for path in paths]
            conflicts = overrides(unit, drop_ins)
            stale = is_stale(properties, unit)
            words = [command_words(value) for value in _values([unit], "ExecStart")]
            if has_process and len(words) == 1 and words[0]:
                running = pathlib.Path("/proc", properties["MainPID"], "cmdline").read_bytes().decode(errors="replace")
                if not runs_command(re.sub("\0\\Z", "", running).split("\0"), words[0]):
                    reasons.append("runs with another command line than that of its unit")
        if has_process and (replaced := _replaced(properties)):
            reasons.append(f"runs files that were replaced since it started: {', '.join(replaced)}")
    return Findings(conflicts, stale, reasons)
