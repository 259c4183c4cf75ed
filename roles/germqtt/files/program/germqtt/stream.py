# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event stream, read by one OpenSSH client after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pathlib
import sqlite3
import subprocess
import time
import typing as t

from . import backoff, config, events, status, store

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
LONGEST_LINE = 4 * 1024 * 1024
# Bytes of ssh's error output that are kept, and characters that are shown.
KEPT_PROBLEM, SHOWN_PROBLEM = 4096, 300
# Seconds. ssh exits after three unanswered keepalives, so that a dead link is noticed within 40 seconds.
KEEPALIVE = 10
LOGIN_TIMEOUT = 60
END_TIMEOUT = 2
# Gerrit does not say when a stream has begun. It has begun this many seconds after the login.
BEGINS_WITHIN = 2
FIRST_DELAY, LONGEST_DELAY = 1, 40
FULL_DISK_DELAY = 1
REFUSALS = ("Permission denied", "Host key verification failed", "No matching host key", "Too many authentication")


def host_alias(gerrit: config.Gerrit) -> str:
    """Gerrit's name in known_hosts: with the port, even if that is 22, as germqtt 0.1.0 looks it up."""
    return f"[{gerrit.hostname}]:{gerrit.port}"


def _quoted(path: pathlib.Path) -> str:
    """Quote a path for an option of ssh, which has escapes, and tokens that start with a percent sign."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def command(gerrit: config.Gerrit) -> list[str]:
    """The command whose output is the stream, after an empty line that confirms the login."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "15",
        "EscapeChar": "none",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": host_alias(gerrit),
        "IdentitiesOnly": "yes",
        "IdentityFile": _quoted(gerrit.key),
        "IdentityAgent": "none",
        "LocalCommand": "echo",
        "LogLevel": "ERROR",
        "PermitLocalCommand": "yes",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": str(KEEPALIVE),
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": _quoted(gerrit.known_hosts),
    }
    arguments = [argument for name, value in options.items() for argument in ("-o", f"{name}={value}")]
    target = ["-l", gerrit.username, "-p", str(gerrit.port), "--", gerrit.hostname]
    return ["ssh", "-F", "none", "-T", *arguments, *target, "gerrit", "stream-events"]


def check(gerrit: config.Gerrit, file: str) -> None:
    """Raise ConfigError if the key or the host key cannot be used; `file` is the path of the configuration."""
    for option, path in (("key", gerrit.key), ("known_hosts", gerrit.known_hosts)):
        try:
            path.read_bytes()
        except OSError as exc:
            raise config.ConfigError(f"{file}: [gerrit] {option}: {path}: {exc.strerror}") from None
    key = _ssh_keygen("-y", "-P", "", "-f", str(gerrit.key))
    if key.returncode:
        why = [line for line in key.stderr.strip().split("\n") if not line.startswith("@")] or [""]
        raise config.ConfigError(f"{file}: [gerrit] key: {gerrit.key}: ssh cannot use this key: {why[-1]}")
    if _ssh_keygen("-F", host_alias(gerrit), "-f", str(gerrit.known_hosts)).returncode:
        raise config.ConfigError(
            f"{file}: [gerrit] known_hosts: {gerrit.known_hosts} has no key of {host_alias(gerrit)}"
        )


def _ssh_keygen(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise config.ConfigError("OpenSSH's client is not installed: there is no ssh-keygen") from None


class Lines:
    """A splitter of the stream into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def split(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk. Lines that are too long are truncated."""
        first, *others = chunk.split(b"\n")
        if not self._skipping:
            self._rest += first
        if not others:
            self._skipping = self._skipping or len(self._rest) > LONGEST_LINE
            return []
        lines = [bytes(self._rest), *others[:-1]]
        self._rest, self._skipping = bytearray(others[-1]), False
        return [line[:LONGEST_LINE] for line in lines if line]


class Stream:
    """Store Gerrit's lines, and gaps where events may be missing."""

    def __init__(
        self,
        gerrit: config.Gerrit,
        kept: store.Store,
        shown: status.Status,
        changed: t.Callable[[], None],
        told: t.Callable[[], None],
    ) -> None:
        self._gerrit, self._store, self._status = gerrit, kept, shown
        # Callbacks for new rows in the store, and for a changed status.
        self._changed, self._told = changed, told
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._gap_reason = "germqtt was not running"

    async def run(self) -> None:
        """Follow the stream until stop() is called."""
        delays = backoff.Backoff(FIRST_DELAY, LONGEST_DELAY)
        while not self._stopping.is_set():
            problem, refused = await self._follow()
            if self._status.gerrit == status.CONNECTED:
                self._gap_reason = f"the stream ended: {problem}"
                delays.reset()
            if refused:
                delays.lengthen()
            self._status.gerrit = f"refuses germqtt: {problem}" if refused else f"does not stream: {problem}"
            if not self._stopping.is_set():
                log.error("Gerrit %s:%d %s", self._gerrit.hostname, self._gerrit.port, self._status.gerrit)
                self._told()
                await delays.sleep(unless=self._stopping)

    def stop(self) -> None:
        """End the stream; the rest of its output is stored."""
        self._stopping.set()
        if self._process and self._process.returncode is None:
            self._process.terminate()

    async def _follow(self) -> tuple[str, bool]:
        """Run ssh until it ends; return the reason, and whether Gerrit rejects germqtt."""
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *command(self._gerrit),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                limit=CHUNK,
                # LocalCommand needs a shell, and the account's own shell may run no commands.
                env={"PATH": os.defpath, "SHELL": "/bin/sh", "LC_ALL": "C.UTF-8"},
            )
        except OSError as exc:
            return f"ssh cannot be started: {exc.strerror}", False
        assert process.stdout and process.stderr
        if self._stopping.is_set():
            self.stop()  # stop() was called when there was no process yet
        errors = asyncio.create_task(_problem(process.stderr))
        try:
            if await asyncio.wait_for(process.stdout.read(1), LOGIN_TIMEOUT):
                await self._read(process.stdout)
            # Killing a process that is about to exit would lose its exit status.
            await asyncio.wait([asyncio.create_task(process.wait())], timeout=END_TIMEOUT)
        except TimeoutError:
            return f"there was no login within {LOGIN_TIMEOUT} seconds", False
        finally:
            self._store.open_gap()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.stdout.read()  # asyncio sees the end of a process only after the end of its output
            code = await process.wait()
            said = await errors
        # ssh exits with 255 for errors of its own, otherwise with the status of Gerrit's command, such as a denied command.
        refused_there = code not in (0, 255) and code > 0 and self._status.gerrit != status.CONNECTED
        return said or f"ssh ended with {code}", refused_there or any(refusal in said for refusal in REFUSALS)

    async def _read(self, output: asyncio.StreamReader) -> None:
        """Store the stream's lines until its end."""
        lines, begins = Lines(), time.monotonic() + BEGINS_WITHIN
        while True:
            if self._store.gap_is_open and time.monotonic() >= begins:
                await self._connected()
            try:
                left = begins - time.monotonic() if self._store.gap_is_open else None
                chunk = await (
                    output.read(CHUNK) if left is None else asyncio.wait_for(output.read(CHUNK), max(left, 0.001))
                )
            except TimeoutError:
                continue
            if not chunk:
                return
            got = lines.split(chunk)
            if got:
                await self._take(got)

    async def _connected(self) -> None:
        """Close the gap, since Gerrit certainly streams by now, and update the status."""
        await self._persist(self._store.close_gap, time.time(), self._gap_reason)
        self._status.gerrit = status.CONNECTED
        log.info("Gerrit %s:%d connected", self._gerrit.hostname, self._gerrit.port)
        self._changed()
        self._told()

    async def _take(self, lines: t.Sequence[bytes]) -> None:
        dropped = any(map(events.says_dropped, lines)) and not self._store.gap_is_open
        if dropped:
            self._store.open_gap()
        await self._persist(self._store.add, lines, time.time())
        if dropped:
            await self._persist(
                self._store.close_gap, time.time(), "Gerrit dropped events, since they were read too slowly"
            )
        self._changed()

    async def _persist(self, write: t.Callable[..., None], *arguments: t.Any) -> None:
        """Write to the store. While the disk is full, wait and read nothing more, so that no event is lost silently."""
        complained = False
        while True:
            try:
                return write(*arguments)
            except sqlite3.OperationalError as exc:
                if not complained:
                    log.error("the store cannot be written, so nothing is read for now: %s", exc)
                    complained = True
                if self._stopping.is_set():
                    # Later lines could be stored, but would not continue where the store ends.
                    return self._store.open_gap()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), FULL_DISK_DELAY)


async def _problem(output: asyncio.StreamReader) -> str:
    """Read to the end; return the last line that is not empty, without unprintable characters."""
    kept = b""
    while chunk := await output.read(CHUNK):
        kept = (kept + chunk)[-KEPT_PROBLEM:]
    lines = ["".join(filter(str.isprintable, line)).strip() for line in kept.decode(errors="replace").split("\n")]
    return next(filter(None, reversed(lines)), "")[:SHOWN_PROBLEM]
