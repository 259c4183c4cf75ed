# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary state of a host for a test."""

from __future__ import annotations

import contextlib
import typing as t

if t.TYPE_CHECKING:
    import testinfra.host


@contextlib.contextmanager
def undone(host: testinfra.host.Host, do: str, undo: str) -> t.Iterator[None]:
    """Run a command on a host, and another one afterwards, even after an error."""
    host.check_output(do)
    try:
        yield
    finally:
        host.check_output(undo)
