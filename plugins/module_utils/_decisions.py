# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What a set of access rules decides, as Mosquitto 2.0 and 2.1 do it, and which rules decide nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _topics
from ansible_collections.opendev.firehose.plugins.module_utils._acls import Rights, Rule

# All that clients can write below $SYS, for the sake of bridges.
WRITABLE_SYS = "$SYS/broker/connection/+/state"


def _substitute(pattern: str, username: str | None, client_id: str) -> str | None:
    """A pattern for one client; None if it is not for this one."""
    values = {"%u": username, "%c": client_id}
    levels = pattern.split("/")
    if any(level in values and not values[level] for level in levels):
        return None
    return "/".join(values.get(level) or level for level in levels)


def _first(rules: t.Iterable[tuple[str | None, str]], topic: str, access: str) -> bool | None:
    """What a list of rules says of a topic, None if nothing. Denials come first, wherever they stand."""
    matching = {
        rule_access for topic_filter, rule_access in rules if topic_filter and _topics.matches(topic_filter, topic)
    }
    if "deny" in matching:
        return False
    return True if matching & {access, "readwrite"} else None


def decide(rights: Rights, topic: str, access: str, username: str | None = None, client_id: str = "id") -> bool:
    """Whether the broker lets a client V(read) or V(write) a topic. A username of None is a client without a name."""
    if topic.startswith("$share"):
        return False
    if access == "write" and topic.startswith("$SYS") and not _topics.matches(WRITABLE_SYS, topic):
        return False
    own = rights.anonymous if username is None else rights.users.get(username, [])
    decision = _first(own, topic, access)
    if decision is not None or not rights.patterns:
        return bool(decision)
    # Wildcards in a name would match other clients' topics.
    if any(char in f"{username or ''}{client_id}" for char in "+#"):
        return False
    patterns = ((_substitute(rule.topic, username, client_id), rule.access) for rule in rights.patterns)
    return bool(_first(patterns, topic, access))


def _never(rule: Rule) -> str | None:
    """Why no message is ever matched by a rule, or None."""
    if rule.topic.startswith("$share"):
        return "no message has a topic that starts with '$share'; rules are about what is shared"
    if rule.access == "write" and rule.topic.startswith("$SYS") and not _topics.overlap(rule.topic, WRITABLE_SYS):
        return "no client can write below $SYS"
    return None


def _said_by_another(index: int, rules: t.Sequence[Rule]) -> str | None:
    """Which other rule of the same list leaves one nothing to decide, or None."""
    rule = rules[index]
    for number, other in enumerate(rules):
        if number == index or not _topics.covers(other.topic, rule.topic):
            continue
        if number > index and other.access == rule.access and _topics.covers(rule.topic, other.topic):
            continue  # of rules that say the same, the first stays
        if other.access == "deny":
            return f"'{other}' denies all of it"
        if rule.access != "deny" and other.access in ("readwrite", rule.access):
            return f"'{other}' allows it already"
    return None


def _any_client(patterns: t.Iterable[Rule]) -> list[Rule]:
    """Patterns with a wildcard for each placeholder: what they match at most."""
    return [
        Rule("/".join("+" if level in ("%u", "%c") else level for level in rule.topic.split("/")), rule.access)
        for rule in patterns
    ]


def _pointless_in(rules: t.Sequence[Rule], allowed: t.Sequence[Rule]) -> t.Iterator[tuple[Rule, str]]:
    """The rules of a list that could go, each with the reason. A denial is for what is allowed otherwise."""
    for index, rule in enumerate(rules):
        why = _never(rule) or _said_by_another(index, rules)
        if not why and rule.access == "deny":
            [widest] = _any_client([rule])
            if not any(other.access != "deny" and _topics.overlap(other.topic, widest.topic) for other in allowed):
                why = "nothing allows what it denies"
        if why:
            yield rule, why


def pointless(rights: Rights) -> list[str]:
    """Name the rules that never match, or that others make pointless. Without them everything would be decided alike."""
    patterns = _any_client(rights.patterns)
    lists = [
        ("anonymous", "topic", rights.anonymous),
        *((f"user {name}", "topic", own) for name, own in rights.users.items()),
    ]
    found = [
        f"{whose}: '{keyword} {rule}': {why}"
        for whose, keyword, rules in lists
        for rule, why in _pointless_in(rules, [*rules, *patterns])
    ]
    return found + [f"patterns: 'pattern {rule}': {why}" for rule, why in _pointless_in(rights.patterns, patterns)]
