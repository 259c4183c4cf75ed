# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test a set of files with the host's own broker, isolated from the running broker.

The trial has its own network, process table and mounts: all ports are free, directories that a broker writes to are in memory,
and everything else is read-only. It runs with the user and the capability of the unit. It asks the listeners, because an exit
status says little: 2.0.11 continues without a listener that it could not open.
"""

from __future__ import annotations

import ctypes
import grp
import ipaddress
import json
import os
import pathlib
import pwd
import re
import socket
import stat
import subprocess
import sys
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import transport

from mosquitto_apply import command, config, probe, rights
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem
from mosquitto_apply.sets import CONFIG, Files, for_broker, load

ARGUMENT = "--inside-trial"
SET = pathlib.Path("/run/trial-set")
LOG = pathlib.Path("/run/trial-log")
HOSTS = pathlib.Path("/run/trial-hosts")
ETC_HOSTS = pathlib.Path("/etc/hosts")
CAPABILITY = "-all,+net_bind_service"
# Directories that the unit's sandbox hides from the broker, or replaces by new ones.
HIDDEN = ("/tmp", "/var/tmp", "/home", "/root")
# Options that name a file that the broker writes. Without a persistence_location, the SQLite plugin's database is one of them.
WRITTEN_FILES = ("pid_file", "persistence_file", "plugin_opt_db_file")
# Constants of mount_setattr(2)
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
WORDS = 800


def run(files: Files, folder: pathlib.Path, timeout: float) -> None:
    """Raise Problem unless a trial broker serves this set correctly."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, sys.argv[0]]
    words += [ARGUMENT, str(folder), f"--timeout={timeout}", *([files.instance.name] if files.instance.name else [])]
    try:
        result = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout * 3 + 10,
            input=json.dumps(_addresses(files.listeners)),
        )
    except subprocess.TimeoutExpired:
        raise Problem("the trial of the new configuration did not come to an end") from None
    try:
        problem = json.loads(result.stdout)
    except ValueError:
        raise Problem(f"the trial of the new configuration did not work: {result.stderr.strip()[-WORDS:]}") from None
    if problem:
        raise Problem(f"a broker that tried the new configuration did not serve it: {problem}")


def inside(instance: Instance, folder: pathlib.Path, timeout: float) -> str:
    """Test the set within the trial's namespaces; return the problem, empty if there is none."""
    files = load(instance, folder)
    if files is None:
        return f"{folder} is no set of files"
    addresses = json.load(sys.stdin)
    # The broker needs access to its directories, whatever the caller's umask.
    os.umask(0o022)
    _network(addresses)
    _mounts(files)
    _names(addresses)
    return _serve(files, timeout)


def _tell(*words: str) -> None:
    result = command.run(*words)
    if result.returncode:
        raise Problem(f"{' '.join(words)}: {result.stderr.strip()}")


def _addresses(listeners: t.Iterable[config.Listener]) -> dict[str, list[str]]:
    """The names that listeners are bound to, with their addresses: the trial cannot resolve names."""
    found = {}
    for name in {listener.address for listener in listeners} - set(transport.ANY_ADDRESS):
        try:
            found[name] = sorted({place[4][0] for place in socket.getaddrinfo(name, None)})
        except OSError as exc:
            raise Problem(f"{name}, which a listener is bound to: {exc.strerror}") from None
    return found


def _network(addresses: dict[str, list[str]]) -> None:
    _tell("ip", "link", "set", "lo", "up")
    for address in {address for behind in addresses.values() for address in behind}:
        number = ipaddress.ip_address(address)
        if not number.is_loopback:
            duplicates = ["nodad"] if number.version == 6 else []
            _tell("ip", "address", "add", f"{number}/{number.max_prefixlen}", "dev", "lo", *duplicates)


def _names(addresses: dict[str, list[str]]) -> None:
    unknown = [name for name in addresses if not _is_known(name)]
    if unknown:
        lines = [f"{address} {name}\n" for name in unknown for address in addresses[name]]
        # In any encoding: /etc/hosts need not be UTF-8.
        HOSTS.write_bytes("".join(lines).encode() + ETC_HOSTS.read_bytes())
        HOSTS.chmod(0o644)
        _tell("mount", "--bind", str(HOSTS), str(ETC_HOSTS))


def _is_known(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def _writable_folders(files: Files) -> dict[pathlib.Path, os.stat_result]:
    """The existing directories that the broker could write to."""
    named = {listener.socket for listener in files.listeners if listener.socket}
    named |= {value for option in WRITTEN_FILES for value in config.values(files.lines, option)}
    named |= {line.value.partition(" ")[2] for line in files.lines if line.option == "log_dest"}
    folders = {pathlib.Path(path).parent for path in named if path.startswith("/")}
    folders |= {pathlib.Path(path) for path in config.values(files.lines, "persistence_location")}
    return {folder: folder.stat() for folder in folders if folder.is_dir()}


def _mounts(files: Files) -> None:
    # Read the host's directories before they are hidden.
    writable = _writable_folders(files)
    _make_read_only()
    _mount(pathlib.Path("/run"))
    for path, status in writable.items():
        if pathlib.Path("/run") in path.parents:
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, status.st_uid, status.st_gid)
            path.chmod(stat.S_IMODE(status.st_mode))
        else:
            _mount(path, f"mode={stat.S_IMODE(status.st_mode):o},uid={status.st_uid},gid={status.st_gid}")
    for path in filter(pathlib.Path.is_dir, map(pathlib.Path, HIDDEN)):
        _mount(path)
    _mount(files.instance.folder)
    # systemd creates this directory for the unit.
    files.instance.runtime.mkdir(exist_ok=True)
    user = files.instance.user
    broker = pwd.getpwnam(user).pw_uid, grp.getgrnam(user).gr_gid
    # The unit makes the broker's user the owner of the store's directory when it starts.
    stored = [pathlib.Path(value) for value in config.values(files.lines, "persistence_location")]
    for path in (files.instance.runtime, *filter(pathlib.Path.is_dir, stored)):
        os.chown(path, *broker)
    for path, content in for_broker(files).items():
        (SET / path).parent.mkdir(parents=True, exist_ok=True)
        (SET / path).write_bytes(content)
    for path in (SET, *SET.rglob("*")):
        os.chown(path, *broker)
    files.instance.live.symlink_to(SET)


def _make_read_only() -> None:
    """Make all mounts read-only: other processes of the broker's user reach them through C(/proc/PID/root)."""
    # struct mount_attr: attributes to set, to clear, propagation, user namespace
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    if library.mount_setattr(AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(attributes), size):
        reason = os.strerror(ctypes.get_errno())
        raise Problem(f"the trial cannot make its mounts read-only: {reason}; it needs Linux 5.12 or later")


def _mount(folder: pathlib.Path, options: str = "mode=0755") -> None:
    _tell("mount", "-t", "tmpfs", "-o", f"size=64m,{options}", "tmpfs", str(folder))


def _serve(files: Files, timeout: float) -> str:
    words = [
        "setpriv",
        "--reuid",
        files.instance.user,
        "--regid",
        files.instance.user,
        "--init-groups",
        "--no-new-privs",
    ]
    words += [f"--{kind}={CAPABILITY}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    words += ["/usr/sbin/mosquitto", "-c", f"{files.instance.live}/{CONFIG}"]
    with LOG.open("w+", encoding="utf-8", errors="replace") as log:
        broker = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.defpath})
        try:
            problem = _problem(broker, files, timeout)
        finally:
            broker.terminate()
            broker.wait()
        log.seek(0)
        errors = [line.strip() for line in log if re.match(r"(\d+: )?Error", line)]
    if problem and errors:
        return f"{problem}: {_explained(' '.join(errors), files)[:WORDS]}"
    return problem


def _explained(errors: str, files: Files) -> str:
    """The broker's errors, with the paths of unix sockets, which it does not name."""
    sockets = [listener.socket for listener in files.listeners if listener.socket]
    return f"{errors} ({', '.join(sockets)})" if "unix socket" in errors else errors


def _problem(broker: subprocess.Popen[bytes], files: Files, timeout: float) -> str:
    answers = probe.ask(files.listeners, timeout, lambda: broker.poll() is None).all
    if broker.poll() is not None:
        return f"it ended with status {broker.returncode}"
    problems = [f"{listener}: {why}" for listener, why in answers.items()]
    return "; ".join(problems or probe.trespass(files.listeners, rights.read(files), timeout))
