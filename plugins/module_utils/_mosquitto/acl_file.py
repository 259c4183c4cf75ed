# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mosquitto's ACL rules as data: the file's lines, and how wanted rules are merged into them.

The format is that of C(acl_file) in ``mosquitto.conf(5)``, read as the broker's own parser does.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file, password_file
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters

ACCESS = ("read", "write", "readwrite", "deny")


class Rule(t.NamedTuple):
    """An ACL rule: a topic filter, and the access to the topics that it matches."""

    topic: str
    access: str

    def allows(self, access: str) -> bool:
        """Return whether the rule allows this access: read or write."""
        return self.access in (access, "readwrite")

    def __str__(self) -> str:
        return f"{self.access} {self.topic}"


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the file. The keyword is empty for comments and empty lines, the user is None before the first user line."""

    text: str
    keyword: str = ""
    user: str | None = None
    rule: Rule | None = None


@dataclasses.dataclass
class Rights:
    """All ACL rules by client. Anonymous clients have the anonymous rules, and all clients have the patterns."""

    anonymous: list[Rule] = dataclasses.field(default_factory=list)
    users: dict[str, list[Rule]] = dataclasses.field(default_factory=dict)
    patterns: list[Rule] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The rules that a file should have. None keeps the file's rules; a user with an empty list loses its rules."""

    anonymous: list[Rule] | None
    users: dict[str, list[Rule]]
    patterns: list[Rule] | None


def _parse_rule(number: int, fields: str) -> Rule:
    first, blank, rest = fields.lstrip(" ").partition(" ")
    access, topic = (first, rest.strip(line_file.BLANKS)) if blank else ("readwrite", first)
    if not topic:
        raise line_file.FileError(number, "there is no topic")
    if access not in ACCESS:
        raise line_file.FileError(number, f"what stands before the topic is none of {', '.join(ACCESS)}")
    problem = topic_filters.rule_problem(topic, quote=False)
    if problem:
        raise line_file.FileError(number, problem)
    return Rule(topic, access)


def parse(content: str) -> list[Line]:
    """Parse a file. A line that the broker would reject raises an error with its number.

    The error does not quote the line: a file without ACL rules may be another file, with secrets.
    """
    lines: list[Line] = []
    user: str | None = None
    for number, text in line_file.split(content):
        fields = text.rstrip(line_file.BLANKS)
        if text.startswith("#") or not fields:
            lines.append(Line(text, user=user))
            continue
        keyword, _blank, rest = fields.lstrip(" ").partition(" ")
        if keyword == "user":
            user = rest.strip(line_file.BLANKS)
            if not user:
                raise line_file.FileError(number, "there is no name after 'user'")
            lines.append(Line(text, keyword, user))
        elif keyword in ("topic", "pattern"):
            lines.append(Line(text, keyword, user, _parse_rule(number, rest)))
        else:
            raise line_file.FileError(number, "it starts with none of topic, pattern and user")
    return lines


def render(lines: t.Iterable[Line]) -> str:
    """Return a file's text."""
    return line_file.join(line.text for line in lines)


def collect(lines: t.Iterable[Line]) -> Rights:
    """All ACL rules of a file by client."""
    rights = Rights()
    for line in lines:
        if line.keyword == "user" and line.user is not None:
            rights.users.setdefault(line.user, [])
        if line.rule is None:
            continue
        if line.keyword == "pattern":
            rights.patterns.append(line.rule)
        elif line.user is None:
            rights.anonymous.append(line.rule)
        else:
            rights.users[line.user].append(line.rule)
    return rights


# The list that a line belongs to: the patterns, a user's rules, or the rules of anonymous clients (a user of None).
Owner = t.Tuple[str, t.Optional[str]]  # noqa: UP006 # evaluated at run time, where Python 3.8 needs it
ANONYMOUS: Owner = ("topic", None)
PATTERNS: Owner = ("pattern", None)


def _owner(line: Line) -> Owner | None:
    if not line.keyword:
        return None
    return PATTERNS if line.keyword == "pattern" else ("topic", line.user)


def _targets(lines: t.Sequence[Line], wanted: Wanted, prune: bool) -> dict[Owner, collections.Counter[Rule]]:
    """The rules that each owner should have. Owners that are not in the result keep their rules."""
    targets: dict[Owner, collections.Counter[Rule]] = {}
    # In the order of new lines at the end of a file: after a user line every rule is that user's.
    for owner, rules in ((ANONYMOUS, wanted.anonymous), (PATTERNS, wanted.patterns)):
        if rules is not None or prune:
            targets[owner] = collections.Counter(rules or [])
    targets.update({("topic", name): collections.Counter(rules) for name, rules in wanted.users.items()})
    if prune:
        strangers = {owner for owner in map(_owner, lines) if owner} - set(targets)
        targets.update({owner: collections.Counter() for owner in strangers})
    return targets


def _keep(lines: t.Sequence[Line], targets: dict[Owner, collections.Counter[Rule]]) -> list[Line]:
    """The lines that stay. Rules that the file has already are removed from the targets."""
    named = {owner for owner, rules in targets.items() if rules}
    kept = []
    for line in lines:
        owner = _owner(line)
        if owner is None or owner not in targets:
            kept.append(line)
        elif line.rule is None:
            # The user line is removed with the last of the user's rules, and so is the empty line above it.
            if owner in named:
                kept.append(line)
            elif kept and not kept[-1].text:
                kept.pop()
        elif targets[owner][line.rule] > 0:
            targets[owner][line.rule] -= 1
            kept.append(line)
    return kept


def _insertion_points(lines: t.Sequence[Line]) -> dict[Owner, int]:
    """The line before which further rules of each owner are inserted: after the owner's last line."""
    points = {owner: index for index, owner in enumerate(map(_owner, lines), 1) if owner}
    if ANONYMOUS not in points:
        # Before the first user, and before the comments right above it.
        index = next((index for index, line in enumerate(lines) if line.keyword == "user"), len(lines))
        while 0 < index < len(lines) and lines[index - 1].text.startswith("#"):
            index -= 1
        points[ANONYMOUS] = index
    return points


def merge(lines: t.Sequence[Line], wanted: Wanted, *, prune: bool = False) -> list[Line]:
    """Merge the wanted rules into a file's lines. Correct lines stay where they are; other clients' rules do not change.

    Pruning removes the rules of all owners that are not mentioned. The order of the rules within a list has no effect,
    so it is kept too.
    """
    targets = _targets(lines, wanted, prune)
    kept = _keep(lines, targets)
    points = _insertion_points(kept)
    added: dict[int, list[Line]] = collections.defaultdict(list)
    # Owners that are in the file already come first: after a new user line at the end of the file, a rule would be the new user's.
    for owner, rules in sorted(targets.items(), key=lambda item: item[0] not in points):
        keyword, user = owner
        new = [Line(f"{keyword} {rule}", keyword, user, rule) for rule in rules.elements()]
        if new and user is not None and owner not in points:
            new = [Line(""), Line(f"user {user}", "user", user), *new]
        added[points.get(owner, len(kept))] += new
    merged = [line for index in range(len(kept) + 1) for line in [*added[index], *kept[index : index + 1]]]
    return merged if kept or not merged or merged[0].text else merged[1:]


def lets_anonymous_publish(line: Line) -> bool:
    """Return whether a line is a rule that allows anonymous clients to publish. They choose their client ids, but have no %u."""
    if line.rule is None or not line.rule.allows("write"):
        return False
    if line.keyword == "pattern":
        return "%u" not in line.rule.topic
    return line.user is None


def _rule_problem(keyword: str, user: str | None, rule: Rule, allowed_by: str) -> str | None:
    problem = topic_filters.rule_problem(rule.topic)
    if problem:
        return problem
    levels = rule.topic.split("/") if keyword == "pattern" else []
    if any(mark in level and mark != level for level in levels for mark in ("%u", "%c")):
        return f"{rule.topic!r}: '%u' and '%c' must be whole levels; Mosquitto 2.1 takes them as they stand elsewhere"
    if allowed_by and lets_anonymous_publish(Line("", keyword, user, rule)):
        return f"{str(rule)!r} lets clients without a name publish, which {allowed_by} does not allow"
    return None


def problems(acl: t.Mapping[str, t.Any], path: str = "", *, allowed_by: str = "") -> list[str]:
    """List the problems of wanted rules, each with its place in the variable that the path names.

    Rules that allow anonymous clients to publish are a problem if allowed_by names the variable that would allow them.
    """
    users = acl.get("users") or []
    lists = [
        (f"{path}anonymous", "topic", None, acl.get("anonymous")),
        (f"{path}patterns", "pattern", None, acl.get("patterns")),
        *(
            (f"{path}users[{index}].rules", "topic", str(user["name"]), user.get("rules"))
            for index, user in enumerate(users)
        ),
    ]
    found = []
    for place, keyword, name, entries in lists:
        for index, rule in enumerate(_rules(entries or [])):
            problem = _rule_problem(keyword, name, rule, allowed_by)
            if problem:
                found.append(f"{place}[{index}]: {problem}")
    for index, user in enumerate(users):
        problem = password_file.name_problem(str(user["name"]))
        if problem:
            found.append(f"{path}users[{index}]: {problem}")
    for name, first, again in password_file.duplicates(str(user["name"]) for user in users):
        found.append(f"{path}users[{again}]: {path}users[{first}] has the same name, {name!r}")
    return found


def _rules(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[Rule]:
    # An access of None is a suboption that was not given.
    return [Rule(str(entry["topic"]), entry.get("access") or "read") for entry in entries]


def wanted(acl: t.Mapping[str, t.Any]) -> Wanted:
    """The wanted rules from variables or module options."""
    anonymous, patterns = acl.get("anonymous"), acl.get("patterns")
    return Wanted(
        None if anonymous is None else _rules(anonymous),
        {
            str(user["name"]): _rules(user.get("rules") or []) if user.get("state", "present") == "present" else []
            for user in acl.get("users") or []
        },
        None if patterns is None else _rules(patterns),
    )
