# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NATS on this host. Events go there at QoS 0, so that it stores nothing: what it has not taken, the core still has."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake, _raw_client

from .core import ANSWER_TIMEOUT


@contextlib.contextmanager
def connected(host: str, port: int, username: str, password: str) -> t.Iterator[_raw_client.Client]:
    """A connection, which is of no use any more once anything is wrong with it: NoAnswer."""
    with _raw_client.connected({"host": host, "port": port}, ANSWER_TIMEOUT) as client:
        code = client.log_in(username, password)
        if code:
            raise _handshake.NoAnswer(f"it refuses the relay with code {code}")
        yield client
