# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a line of Gerrit's event stream to a topic and a payload. Pure functions."""

from __future__ import annotations

import json
import re
import typing as t

# Limits of a topic: MQTT limits the length in bytes, Mosquitto the number of slashes.
LONGEST_TOPIC = 65535
MOST_SLASHES = 200

# Characters to escape: the escape itself, wildcards, the space, which some brokers reject, control characters with
# line separators, and surrogates and noncharacters, which MQTT forbids.
_UNFIT = re.compile(
    "[%+# \x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
# A slash that would make an empty level.
_EMPTY_LEVEL = re.compile(r"^/|/$|(?<=/)/")
_CREATED = re.compile(rb'"eventCreatedOn":\s*(\d{1,12})\b')


class UnusableError(Exception):
    """The reason why a line cannot be published."""


def _encode(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def encode_project(name: str) -> str:
    """Encode a project name as topic levels. Ordinary names do not change, and different names stay different."""
    return _EMPTY_LEVEL.sub("%2F", _UNFIT.sub(_encode, name))


def encode_level(name: str) -> str:
    """Encode a name as one topic level."""
    return _UNFIT.sub(_encode, name).replace("/", "%2F")


def _project(event: t.Mapping[str, t.Any]) -> str:
    """The project of an event, from the fields that germqtt 0.1.0 reads; empty if there is none."""
    holder = event if event.get("project") else event.get("change", event.get("refUpdate", {}))
    if not isinstance(holder, dict):
        raise UnusableError("its change or refUpdate is not an object")
    project = holder.get("project") or ""
    if isinstance(project, dict):  # the form that webhooks use
        project = project.get("name")
    if not isinstance(project, str):
        raise UnusableError("its project is not a text, nor an object with a name")
    return project


def _named_project(event: t.Mapping[str, t.Any]) -> str:
    """The project of an event, from fields that germqtt 0.1.0 does not read; empty if there is none, or several."""
    if isinstance(name := event.get("projectName"), str):
        return name
    updates = event.get("refUpdates")
    if not isinstance(updates, list):
        return ""
    names = {update.get("project") if isinstance(update, dict) else None for update in updates}
    name = names.pop() if len(names) == 1 else ""
    return name if isinstance(name, str) else ""


def _parse(line: bytes) -> dict[str, t.Any]:
    try:
        event = json.loads(line.decode())
    except UnicodeDecodeError:
        raise UnusableError("it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise UnusableError("it is not JSON") from None
    if not isinstance(event, dict):
        raise UnusableError("it is not a JSON object")
    return event


def message(base: str, line: bytes, project_topics: bool = False) -> tuple[str, bytes]:
    """The topic and the payload. Raises UnusableError. With project_topics, more fields can name the project."""
    event = _parse(line)
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        raise UnusableError("its type is not a text")
    project = _project(event) or (_named_project(event) if project_topics else "")
    topic = f"{base}/{encode_project(project)}/{encode_level(kind)}"
    if len(topic.encode()) > LONGEST_TOPIC or topic.count("/") > MOST_SLASHES:
        raise UnusableError("its topic is longer than a broker accepts")
    try:
        # The same text as in germqtt 0.1.0, for subscribers that compare texts.
        return topic, json.dumps(event).encode()
    except RecursionError:  # in some versions of Python, writing needs more stack than reading
        raise UnusableError("it is nested too deeply") from None


def created(line: bytes) -> int | None:
    """The time when Gerrit created an event, in seconds since the epoch, if the line has it. The field is near the line's end."""
    found = _CREATED.search(line, max(line.rfind(b'"eventCreatedOn"'), 0))
    return int(found[1]) if found else None


def says_dropped(line: bytes) -> bool:
    """Whether a line says that Gerrit has dropped events, because this reader was too slow."""
    if b"dropped-output" not in line:
        return False
    try:
        return _parse(line).get("type") == "dropped-output"
    except UnusableError:
        return False


def gap(start: float, end: float, reason: str, events: int | None = None) -> bytes:
    """The gap message: events that Gerrit created in this span may be missing."""
    first, last = sorted((start, end))  # the clock may have been set back
    return json.dumps(
        {"type": "gap", "from": int(first), "to": int(last) + 1, "reason": reason, "events": events}
    ).encode()
