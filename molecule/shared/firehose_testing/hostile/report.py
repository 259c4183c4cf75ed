# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports of a program in a container: lines of JSON on its standard output."""

from __future__ import annotations

import json
import sys
import time
import typing as t


def tell(kind: str, **what: t.Any) -> None:
    """All containers have the same clock."""
    print(json.dumps({"kind": kind, "time": time.time(), **what}), flush=True)


def told() -> t.Any:
    """The task of a program is the first line of its standard input."""
    return json.loads(sys.stdin.readline())


def ended() -> None:
    """Return when the program must end. A signal to `docker exec` would not reach into the container."""
    sys.stdin.read()
