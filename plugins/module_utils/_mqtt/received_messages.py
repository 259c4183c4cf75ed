# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Received messages: the matching ones, and their form in results. Conditions are JMESPath expressions on JSON payloads."""

from __future__ import annotations

import base64
import collections
import json
import traceback
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message

JMESPATH_ERROR: str | None
try:
    import jmespath
    from jmespath.exceptions import JMESPathError, JMESPathTypeError
except ImportError:
    JMESPATH_ERROR = traceback.format_exc()
else:
    JMESPATH_ERROR = None


def as_result(message: Message) -> dict[str, t.Any]:
    """A message in a module's result, which can only hold text."""
    try:
        text, encoded = message.payload.decode(), None
    except UnicodeDecodeError:
        text, encoded = None, base64.b64encode(message.payload).decode()
    return {
        "topic": message.topic,
        "payload": text,
        "payload_base64": encoded,
        "qos": message.qos,
        "retain": message.retain,
    }


class ConditionError(ValueError):
    """An invalid expression; the message quotes it."""


def is_true(value: t.Any) -> bool:
    """JMESPath's truth: null, false and empty values are false. 0 is true."""
    return not (value is None or value is False or (isinstance(value, (str, list, dict)) and not value))


class Condition:
    """A compiled expression."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        try:
            self._compiled = jmespath.compile(expression)
        except JMESPathError as exc:
            raise self._error(exc) from None
        self._value(None)  # reports unknown functions, for example, before there is a payload

    def _error(self, exc: Exception) -> ConditionError:
        # jmespath repeats the expression in a second line, and points into it with a third.
        return ConditionError(f"condition: {self._expression!r}: {str(exc).splitlines()[0].rstrip(':')}")

    def _value(self, document: t.Any) -> t.Any:
        try:
            return self._compiled.search(document)
        except JMESPathTypeError:
            return None  # a value of the document has a type that the expression's functions do not accept
        except JMESPathError as exc:
            raise self._error(exc) from None

    def holds(self, payload: bytes) -> bool:
        """Return whether a payload is JSON for which the expression is true."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return False
        return is_true(self._value(document))


class Collector:
    """Takes messages that match until there are enough; the others are only counted."""

    def __init__(self, enough: int, condition: Condition | None, retained: bool) -> None:
        self._enough, self._condition, self._retained = enough, condition, retained
        self.matching: list[Message] = []
        self.ignored = 0

    def take(self, messages: collections.deque[Message]) -> bool:
        """Take from messages; return whether there are enough."""
        while messages and len(self.matching) < self._enough:
            message = messages.popleft()
            if (message.retain and not self._retained) or (
                self._condition and not self._condition.holds(message.payload)
            ):
                self.ignored += 1
            else:
                self.matching.append(message)
        return len(self.matching) >= self._enough
