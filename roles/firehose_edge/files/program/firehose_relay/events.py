# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed on, and what NATS cannot carry."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _topics

# NATS ends a connection on which such a topic comes: to it, blanks separate the words of its own protocol.
UNFIT = " "


class Event(t.NamedTuple):
    """A message as it came, with the number under which it is to be acknowledged.

    What somebody has published at QoS 0 has the number 0, and is not acknowledged.
    """

    number: int
    topic: str
    payload: bytes
    retain: bool

    def problem(self) -> str | None:
        """Why NATS cannot carry it."""
        return "NATS knows no topics with blanks" if UNFIT in self.topic else None


def publishers_of(topic: str, publishers: t.Mapping[str, t.Sequence[str]]) -> str:
    """Who may have published it, of whom each has topic filters. MQTT does not say who has."""
    names = [name for name, filters in publishers.items() if any(_topics.matches(one, topic) for one in filters)]
    return " or ".join(names) or "somebody"
