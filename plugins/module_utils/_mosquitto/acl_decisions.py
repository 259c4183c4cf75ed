# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions of a set of ACL rules, as Mosquitto 2.0 and 2.1 make them, and the rules without effect."""

from __future__ import annotations

import collections
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto.acl_file import Rights, Rule
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters

# The only topics below $SYS that clients can write, for bridges.
WRITABLE_SYS = "$SYS/broker/connection/+/state"
PLACEHOLDER = re.compile("%[uc]")
LITERAL = "'%u' and '%c' stand for names in patterns only; this is the topic that has them as they stand"


def _substitute(pattern: str, username: str | None, client_id: str) -> str | None:
    """The topic filter of a pattern for one client; None if the pattern does not apply to it."""
    values = {"%u": username, "%c": client_id}
    levels = pattern.split("/")
    if any(level in values and not values[level] for level in levels):
        return None
    return "/".join(values.get(level) or level for level in levels)


def _first(rules: t.Iterable[tuple[str | None, str]], topic: str, access: str) -> bool | None:
    """The decision of a list of rules on a topic, None if there is none. Deny rules come first, in any order."""
    matching = {
        rule_access
        for topic_filter, rule_access in rules
        if topic_filter and topic_filters.matches(topic_filter, topic)
    }
    if "deny" in matching:
        return False
    return True if matching & {access, "readwrite"} else None


def decide(rights: Rights, topic: str, access: str, username: str | None = None, client_id: str = "id") -> bool:
    """Return whether the broker allows a client to V(read) or V(write) a topic. A username of None is an anonymous client.

    Not for cases in which the releases differ. One is patterns with usernames or client ids that have a slash or start with a
    dollar sign: 2.0 inserts them unchanged, 2.1 does not match them. The other is a placeholder within a level: only 2.0
    replaces it.
    """
    if topic.startswith("$share"):
        return False
    if access == "write" and topic.startswith("$SYS") and not topic_filters.matches(WRITABLE_SYS, topic):
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


def _widest(pattern: str) -> str:
    """A filter for all topics that a pattern matches for any client: a name can have slashes. An empty filter means every topic."""
    levels = pattern.split("/")
    for index, level in enumerate(levels):
        if PLACEHOLDER.search(level):
            return "/".join([*levels[:index], "#"]) if index else ""
    return pattern


def _overlap(one: str, other: str) -> bool:
    """Return whether there may be a topic that both match. Each is a filter, or the widest filter of a pattern."""
    return not one or not other or topic_filters.overlap(one, other)


def _covers(pattern: str, other: str) -> bool:
    """Return whether a pattern matches, for each client, all topics that another one matches.

    A placeholder may stand for several levels, which '+' does not match. In the first level it may start with a dollar
    sign, which '#' does not match either.
    """
    levels = enumerate(zip(pattern.split("/"), other.split("/")))
    return topic_filters.covers(pattern, other) and all(
        mine == theirs or (mine == "#" and index > 0) for index, (mine, theirs) in levels if PLACEHOLDER.search(theirs)
    )


def _never(rule: Rule, widest: str) -> str | None:
    """Say why a rule never matches a message, or None."""
    if rule.topic.startswith("$share"):
        return "no message has a topic that starts with '$share'; rules are about what is shared"
    if rule.access == "write" and rule.topic.startswith("$SYS") and not _overlap(widest, WRITABLE_SYS):
        return "no client can write below $SYS"
    return None


def _said_by(wider: t.Sequence[Rule], rule: Rule, widest: str) -> str | None:
    """Say which of the wider rules leave a rule without effect, or None."""
    for other in wider:
        if other.access == "deny":
            return f"'{other}' denies all of it"
    sayings = [
        next((f"'{other}'" for other in wider if other.allows(access)), "")
        for access in ("read", "write")
        if rule.allows(access) and not _never(Rule(rule.topic, access), widest)
    ]
    if not sayings or not all(sayings):
        return None
    who = list(dict.fromkeys(sayings))
    return f"{' and '.join(who)} allow{'s' if len(who) == 1 else ''} it already"


def _prefixes(topic_filter: str) -> list[str]:
    """The prefixes of a filter: empty, its first level, its first two levels, and so on up to the first wildcard."""
    prefixes = [""]
    for level in topic_filter.split("/"):
        if level in ("+", "#"):
            break
        prefixes.append(f"{prefixes[-1]}{level}/")
    return prefixes


def _pointless_in(
    rules: t.Sequence[Rule], allowed: t.Sequence[str], *, patterns: bool = False
) -> t.Iterator[tuple[Rule, str]]:
    """The rules of a list that could be removed, each with the reason. A deny rule needs an allowed filter that it restricts.

    Not all of them are found: no rule is compared with several others together.
    """
    covers, widest_of = (_covers, _widest) if patterns else (topic_filters.covers, str)
    # Only rules with a common prefix are compared, so that long lists do not take long.
    starting: dict[str, list[int]] = collections.defaultdict(list)
    for index, rule in enumerate(rules):
        starting[_prefixes(rule.topic)[-1]].append(index)

    def stays(number: int, index: int) -> bool:
        """Return whether a wider rule is not itself the one to remove, if both match the same topics."""
        other, rule = rules[number], rules[index]
        if not covers(rule.topic, other.topic):
            return True
        return number < index if other.access == rule.access else other.access == "deny" or rule.access != "readwrite"

    for index, rule in enumerate(rules):
        alike = sorted(number for prefix in _prefixes(rule.topic) for number in starting.get(prefix, ()))
        wider = [
            rules[number]
            for number in alike
            if number != index and covers(rules[number].topic, rule.topic) and stays(number, index)
        ]
        widest = widest_of(rule.topic)
        why = _never(rule, widest) or _said_by(wider, rule, widest)
        if not why and rule.access == "deny" and not any(_overlap(other, widest) for other in allowed):
            why = "nothing allows what it denies"
        if why:
            yield rule, why


def _allowed(rules: t.Iterable[Rule], filter_of: t.Callable[[str], str] = str) -> list[str]:
    return list(dict.fromkeys(filter_of(rule.topic) for rule in rules if rule.access != "deny"))


def pointless(rights: Rights) -> list[str]:
    """Name the rules that never match, or that other rules make pointless. Without them every decision is the same.

    Also name the rules with a placeholder that are not patterns: they match the literal topic.
    """
    patterns = _allowed(rights.patterns, _widest)
    found = []
    for whose, own in (("anonymous", rights.anonymous), *((f"user {name}", own) for name, own in rights.users.items())):
        found += [f"{whose}: 'topic {rule}': {why}" for rule, why in _pointless_in(own, [*_allowed(own), *patterns])]
        found += [f"{whose}: 'topic {rule}': {LITERAL}" for rule in own if PLACEHOLDER.search(rule.topic)]
    return found + [
        f"patterns: 'pattern {rule}': {why}" for rule, why in _pointless_in(rights.patterns, patterns, patterns=True)
    ]
