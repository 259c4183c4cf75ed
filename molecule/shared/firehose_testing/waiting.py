# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for conditions."""

from __future__ import annotations

import time
import typing as t

from .clients import TIMEOUT


def wait_until(
    done: t.Callable[[], bool], what: str, timeout: float = TIMEOUT, explain: t.Callable[[], str] = lambda: ""
) -> None:
    """Poll until a time limit."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"waited in vain until {what}. {explain()}"
        time.sleep(0.2)
