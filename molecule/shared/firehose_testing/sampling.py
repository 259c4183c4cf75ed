# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch the arguments and environments of a host's processes for secrets."""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t

import testinfra.host

FOLDER = "/run/sampler"
FOUND = f"{FOLDER}/found"
# It gets the words in pieces, so that it does not find itself.
PROGRAM = """
import json, os, pathlib, time
words = ["".join(pieces).encode() for pieces in {pieces}]
found = set()
while True:
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            try:
                content = (process / part).read_bytes()
            except OSError:
                continue
            found |= {{(part, content.replace(b"\\0", b" ").decode(errors="replace")[:300]) for word in words if word in content}}
    # Whoever reads it at the same time gets all of it.
    pathlib.Path("{found}.new").write_text(json.dumps(sorted(found)))
    os.replace("{found}.new", "{found}")
    time.sleep(0.02)
"""


@contextlib.contextmanager
def sampling(host: testinfra.host.Host, words: t.Sequence[str]) -> t.Iterator[t.Callable[[], list[list[str]]]]:
    """Watch while it is entered. Yields a function that returns the findings: place and text."""
    pieces = [[word[:3], word[3:]] for word in words]
    program = PROGRAM.format(pieces=pieces, found=FOUND)
    # Passed on standard input, since it searches arguments.
    name = host.backend.name
    host.check_output("mkdir --parents %s", FOLDER)
    subprocess.run(
        ["docker", "exec", "--interactive", name, "dd", f"of={FOLDER}/program"], input=program, text=True, check=True
    )
    host.check_output("systemd-run --quiet --unit sampler python3 %s", f"{FOLDER}/program")
    try:
        yield lambda: json.loads(host.check_output("cat %s", FOUND))
    finally:
        host.check_output("systemctl stop sampler")
