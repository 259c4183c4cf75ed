# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that are cut off in the middle."""

from __future__ import annotations

from .bad import APPLY, FOLDER, KEEP, KEPT
from .change import Change

# Seconds: as files are read, in the trial, about when the broker is reloaded, and later than all.
MOMENTS = (0.1, 0.3, 0.6, 1, 1.5, 2, 3, 4)
# Rules of another account, which a reload brings.
RULE = f"printf 'user zuul\\ntopic write zuul/#\\n' >>{FOLDER}/acl"
# What the broker has is the one set or the other, and whole.
WHOLE = f"""
set -e
cmp -s {FOLDER}/live/files{FOLDER}/acl {FOLDER}/acl || cmp {FOLDER}/live/files{FOLDER}/acl {KEPT}/acl
test -s {FOLDER}/live/owners.json && grep -q '^acl_file {FOLDER}/live/files' {FOLDER}/live/mosquitto.conf
"""
# The next one goes on from there, and no trial and no half of a set is left.
MADE_GOOD = f"""{WHOLE}
{APPLY} >/dev/null
test "$({APPLY} --check)" = 'mosquitto.service: in step'
cmp {FOLDER}/live/files{FOLDER}/acl {FOLDER}/acl
for _second in $(seq 20); do test "$(pgrep --count --exact mosquitto)" != 1 || break; sleep 1; done
test "$(pgrep --count --exact mosquitto)" = 1
test "$(ls {FOLDER}/sets | wc -l)" -le 2
"""

KILLED = [
    Change(
        f"killed after {moment:g} s",
        before=f"{KEEP} && {RULE}",
        command=f"timeout --signal KILL {moment} {APPLY}",
        afterwards=MADE_GOOD,
        short=moment == 0.6,
    )
    for moment in MOMENTS
]
