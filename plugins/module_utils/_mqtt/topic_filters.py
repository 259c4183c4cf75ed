# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topic names and topic filters by the rules of MQTT (version 5.0, section 4.7)."""

from __future__ import annotations

import itertools

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file

MAX_BYTES = 65535
MAX_SLASHES = 200


def filter_problem(topic_filter: str, *, quote: bool = True) -> str | None:
    """Say what is wrong with a topic filter, or None. Without quote it may be a secret."""
    what = repr(topic_filter) if quote else "a topic filter"
    if not topic_filter:
        return "a topic filter cannot be empty"
    if len(topic_filter.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"a topic filter has at most {MAX_BYTES} bytes"
    if line_file.has_unfit_characters(topic_filter):
        return "a topic filter cannot have control characters, nor others that MQTT forbids"
    levels = topic_filter.split("/")
    for number, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or number < len(levels)):
            return f"{what}: '#' must be the whole last level"
        if "+" in level and level != "+":
            return f"{what}: '+' must be a whole level"
    return None


def rule_problem(topic_filter: str, *, quote: bool = True) -> str | None:
    """Say what is wrong with a topic filter in an ACL file or a bridge, where whitespace at the ends is lost, or None."""
    if topic_filter != topic_filter.strip(line_file.BLANKS):
        what = repr(topic_filter) if quote else "a topic filter"
        return f"{what}: Mosquitto's files cannot hold blanks at either end of a topic filter"
    if topic_filter.count("/") > MAX_SLASHES:
        return f"a topic filter with more than {MAX_SLASHES} slashes: Mosquitto rejects a whole file for it"
    return filter_problem(topic_filter, quote=quote)


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a filter matches a topic. Wildcards in the first level match no topic that starts with '$'."""
    if topic.startswith("$") != topic_filter.startswith("$"):
        return False
    for wanted, level in itertools.zip_longest(topic_filter.split("/"), topic.split("/")):
        if wanted == "#":
            return True
        if wanted is None or level is None or wanted not in ("+", level):
            return False
    return True


def covers(topic_filter: str, other: str) -> bool:
    """Return whether a filter matches every topic that another one matches."""
    if topic_filter.startswith("$") != other.startswith("$"):
        return False
    if topic_filter == "+/#":
        return True  # every topic has a first level
    for mine, theirs in itertools.zip_longest(topic_filter.split("/"), other.split("/")):
        if mine == "#":
            return True
        if mine is None or theirs in (None, "#") or mine not in ("+", theirs):
            return False
    return True


def overlap(one: str, other: str) -> bool:
    """Return whether there is a topic that both filters match."""
    if one.startswith("$") != other.startswith("$"):
        return False
    for mine, theirs in itertools.zip_longest(one.split("/"), other.split("/")):
        if "#" in (mine, theirs):
            return True
        if mine is None or theirs is None or (mine != theirs and "+" not in (mine, theirs)):
            return False
    return True
