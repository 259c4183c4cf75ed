# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that are interrupted."""

from __future__ import annotations

from .bad import APPLY, BRING_BACK, FOLDER, KEEP, KEPT
from .change import Change

# Rules of another account, which a reload applies.
RULE = f"printf 'user zuul\\ntopic write zuul/#\\n' >>{FOLDER}/acl"
# The broker has the old or the new set, complete.
WHOLE = f"""
set -e
cmp -s {FOLDER}/live/files{FOLDER}/acl {FOLDER}/acl || cmp {FOLDER}/live/files{FOLDER}/acl {KEPT}/acl
test -s {FOLDER}/live/kept.json && grep -q '^acl_file {FOLDER}/live/files' {FOLDER}/live/mosquitto.conf
"""
# The next run completes the change, and leaves no trial and no partial set.
MADE_GOOD = f"""{WHOLE}
{APPLY} >/dev/null
test "$({APPLY} --check)" = 'mosquitto.service: up to date'
cmp {FOLDER}/live/files{FOLDER}/acl {FOLDER}/acl
for _second in $(seq 20); do test "$(pgrep --count --exact mosquitto)" != 1 || break; sleep 1; done
test "$(pgrep --count --exact mosquitto)" = 1
{BRING_BACK}
{APPLY} >/dev/null
test "$(ls {FOLDER}/sets | wc -l)" = 1
"""

# The progress of a change, visible on the host.
STEPS = {
    "files are read": "true",
    "a set is written": f"test $(ls {FOLDER}/sets | wc -l) -gt $sets",
    "it is tried out": "pgrep --full -- --inside-trial >/dev/null",
    "the link is turned": f"test $(readlink {FOLDER}/live) != $live",
}


def _killed_when(seen: str) -> str:
    """Kill the command, without its children, at a given moment. It fails, unless it ended before."""
    return (
        f"live=$(readlink {FOLDER}/live); sets=$(ls {FOLDER}/sets | wc -l); {APPLY} & it=$!;"
        f" until {seen} || ! kill -0 $it 2>/dev/null; do :; done; kill -KILL $it; wait $it"
    )


KILLED = [
    Change(
        f"killed when {step}",
        before=f"{KEEP} && {RULE}",
        command=_killed_when(seen),
        afterwards=MADE_GOOD,
        short=step == "it is tried out",
    )
    for step, seen in STEPS.items()
]
