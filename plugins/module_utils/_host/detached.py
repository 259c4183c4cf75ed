# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that continues after a module has returned: in its own process, without a file, identified by its name."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal
import typing as t

READY = "ready"
# The kernel keeps so many characters of a name
LONGEST_NAME = 15

Tell = t.Callable[[str], None]


def start(name: str, work: t.Callable[[Tell], None], timeout: float) -> str:
    """Start the work, and return the first line that it tells, or that none came within the timeout (seconds)."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _become(name, work, writer)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as words:
        if select.select([words], [], [], timeout)[0]:
            return words.readline().strip() or "it ended without a word"
        return f"it was not ready within {timeout:g} seconds"


def _become(name: str, work: t.Callable[[Tell], None], writer: int) -> t.NoReturn:
    """Detach from the module's process, its session and its output; do the work, and end."""
    told: list[str] = []

    def tell(line: str) -> None:
        if not told:
            told.append(line)
            with contextlib.suppress(BrokenPipeError), open(writer, "w", encoding="utf-8") as words:
                words.write(line.replace("\n", " ") + "\n")

    try:
        os.setsid()
        if not os.fork():
            os.chdir("/")
            pathlib.Path("/proc/self/comm").write_text(name, encoding="utf-8")
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
            work(tell)
    except Exception as exc:
        tell(f"{type(exc).__name__}: {exc}")
    finally:
        # This process must not run the module's exit handlers.
        os._exit(0)


def _users(process: pathlib.Path) -> set[str]:
    """The real, effective, saved and file system user ids of a process."""
    status = (process / "status").read_bytes().decode(errors="replace")
    return next(({*line.split()[1:]} for line in status.split("\n") if line.startswith("Uid:")), set())


def running(prefix: str) -> t.Iterator[tuple[int, str]]:
    """The process id and the name of each detached process whose name has this prefix."""
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            name = comm.read_text(encoding="utf-8", errors="replace").rstrip("\n")
            # Any local user can give a process this name, also one of a setuid program.
            if name.startswith(prefix) and _users(comm.parent) == {str(os.geteuid())}:
                yield int(comm.parent.name), name


def end(name: str) -> int:
    """End the processes of that name; return their number."""
    found = 0
    for pid, other in running(name):
        if other == name:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                found += 1
    return found
