# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for the tests of edge hosts."""

from __future__ import annotations

import contextlib
import typing as t

from .clients import TLS_WAYS, WAYS
from .fixtures import Firehose

ALL_WAYS = [*WAYS, *TLS_WAYS]
CUT = "table inet cut { chain cut { type filter hook %s priority -200; %s drop; }; }"


@contextlib.contextmanager
def cut_off(firehose: Firehose, selection: str = "iif != lo", hook: str = "input") -> t.Iterator[None]:
    """Drop packets to the host silently, or from it with the hook `output`."""
    firehose.host.check_output("nft %s", CUT % (hook, selection))
    try:
        yield
    finally:
        firehose.host.check_output("nft delete table inet cut")
