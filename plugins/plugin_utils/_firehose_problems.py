# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Validation for the role firehose: it rejects invalid accounts, and listeners that would serve no clients or the wrong ones."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import password_file
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters
from ansible_collections.opendev.firehose.plugins.plugin_utils import (
    _firehose,
    _firehose_listeners,
    _mosquitto,
    _tls,
    _types,
)

Entry = t.Mapping[str, t.Any]
# The accounts of the public brokers and of edge hosts, and the prefix of accounts that a verification adds and removes
OWN = {"firehose-relay": "the public brokers", "firehose-edge": "the hosts of the role firehose_public"}
PROBE = "firehose-verify"
# The keys that publishers and readers have for a password.
PASSWORDS = ("password", "password_hash")

VERIFY_RANGES: dict[str, tuple[int, int | None]] = dict.fromkeys(
    (
        "firehose_verify_certificate_days",
        "firehose_verify_feed_max_age",
        "firehose_verify_feed_timeout",
        "firehose_verify_time_limit",
        "firehose_verify_timeout",
    ),
    (0, None),
)


def topic_problems(topics: t.Iterable[str], path: str) -> t.Iterator[str]:
    for index, topic in enumerate(topics):
        problem = topic_filters.rule_problem(str(topic))
        if problem:
            yield f"{path}[{index}]: {problem}"
        elif str(topic).startswith("$"):
            yield f"{path}[{index}]: {topic!r}: topics that start with '$' belong to the broker"


def _publisher_problems(publishers: t.Sequence[Entry], variable: str) -> t.Iterator[str]:
    for index, publisher in enumerate(publishers):
        path = f"{variable}[{index}]"
        if not publisher.get("topics") and _firehose.is_present(publisher):
            yield f"{path} ({publisher['name']}): needs topics that it may write"
        yield from topic_problems(publisher.get("topics") or [], f"{path}.topics")
        for key in ("messages", "bytes"):
            if not 0 <= publisher.get(key, 0) < 2**31:
                yield f"{path}.{key}: {publisher[key]} is not between 0 and {2**31 - 1}; 0 is no limit"


def _reader_problems(readers: t.Sequence[Entry]) -> t.Iterator[str]:
    for index, reader in enumerate(readers):
        path = f"firehose_readers[{index}]"
        yield from topic_problems(reader.get("topics") or [], f"{path}.topics")
        yield from leaf_problems(reader.get("sys") or [], f"{path}.sys")


def leaf_problems(leaves: t.Iterable[str], path: str) -> t.Iterator[str]:
    for number, leaf in enumerate(leaves):
        problem = topic_filters.rule_problem(str(leaf))
        if problem or str(leaf).startswith(("$", "/")):
            yield f"{path}[{number}]: {problem or 'give what comes after $SYS/'}"


def _germqtt_problems(variables: Entry) -> t.Iterator[str]:
    """The problems of germqtt's publisher: it needs an account, a password, and topics that cover its own."""
    name, topic = str(variables["firehose_germqtt_publisher"]), variables["germqtt_topic"]
    for index, publisher in enumerate(variables["firehose_publishers"]):
        if str(publisher["name"]) != name or not _firehose.is_present(publisher):
            continue
        path = f"firehose_publishers[{index}] ({name})"
        if publisher.get("password") is None:
            yield f"{path}: germqtt logs in with this account, so it needs password; a password_hash is not enough"
        if not any(topic_filters.covers(own, f"{topic}/#") for own in publisher.get("topics") or []):
            yield f"{path}: germqtt publishes below {topic!r}, so topics needs '{topic}/#'"
        return
    yield f"firehose_publishers: germqtt needs an account: there is none named {name!r}"


def _name_problems(entries: t.Sequence[Entry], variable: str) -> t.Iterator[str]:
    for index, entry in enumerate(entries):
        name = str(entry["name"])
        if name in OWN:
            yield f"{variable}[{index}]: {name!r} is the account of {OWN[name]}"
        elif name.startswith(PROBE) and _firehose.is_present(entry):
            yield f"{variable}[{index}] ({name}): names with {PROBE!r} are for the accounts that verifying makes and removes"


def _listener_problems(variables: Entry) -> t.Iterator[str]:
    """The conflicts of listeners: accounts have their own, and so have germqtt and the public broker."""
    public, own = variables["firehose_listeners"], variables["firehose_account_listeners"]
    internal = {"port": variables["firehose_internal_port"], "bind_address": _firehose.LOOPBACK[0]}
    for variable, listeners in (("firehose_listeners", public), ("firehose_account_listeners", own)):
        for index, listener in enumerate(listeners):
            if _mosquitto.overlap(internal, listener):
                yield f"firehose_internal_port: {variable}[{index}] listens on {_mosquitto.place(listener)} already"
    needs_1883 = variables["firehose_germqtt"] and variables.get("germqtt_source") == "pypi"
    if needs_1883 and not any(one.get("port") == 1883 and _firehose.serves_locally(one) for one in own):
        yield (
            "firehose_account_listeners: germqtt 0.1.0 (germqtt_source is pypi) needs one on 127.0.0.1 with port 1883, for MQTT"
            " and without TLS"
        )
    for index, listener in enumerate(own):
        for number, other in enumerate(public):
            if _mosquitto.overlap(listener, other):
                place = _mosquitto.place(listener)
                yield f"firehose_account_listeners[{index}]: firehose_listeners[{number}] listens on {place} already"


def _form_problems(variables: Entry) -> t.Iterator[str]:
    """Numbers out of range, and texts in a wrong format."""
    ranges: dict[str, tuple[int, int | None]] = {
        "firehose_account_max_queued_messages": (1, 2**31 - 1),
        # Mosquitto has no limit below the size of a packet.
        "firehose_account_max_queued_bytes": (2**20, 2**63 - 1),
        "firehose_account_messages": (0, 2**31 - 1),
        "firehose_account_bytes": (0, 2**31 - 1),
        "firehose_internal_port": (1, 1023),
    }
    yield from _types.range_problems(variables, ranges)
    problem = _firehose_listeners.reserved_port_problem(variables["firehose_internal_port"])
    if problem:
        yield f"firehose_internal_port: {problem}"
    if not _mosquitto.EXPIRATION.fullmatch(str(variables["firehose_account_session_expiration"])):
        yield f"firehose_account_session_expiration: {_mosquitto.EXPIRATION_IS}"


def _unused_problems(variables: Entry) -> t.Iterator[str]:
    tls = variables.get("firehose_tls")
    listeners = (*variables["firehose_listeners"], *variables["firehose_account_listeners"])
    if tls is not None and all(listener.get("tls") != tls for listener in listeners):
        yield "firehose_tls: neither firehose_listeners nor firehose_account_listeners use it; give those that should the key tls"


def problems(variables: Entry, options: Entry) -> list[str]:
    """List the problems of the role's variables, each line naming the variable. Quotes no secret.

    The options are those of the role's argument specs.
    """
    name = "firehose_account_listeners"
    found, own_listeners = _firehose_listeners.known_keys(name, variables[name], _firehose_listeners.ACCOUNT_INSTEAD)
    found += _types.problems({**variables, name: own_listeners}, options, _tls.PEM_KEYS)
    if found:
        return found
    publishers, readers = variables["firehose_publishers"], variables["firehose_readers"]
    found = [
        *password_file.user_problems(publishers, "firehose_publishers", PASSWORDS),
        *password_file.user_problems(readers, "firehose_readers", PASSWORDS),
        *_name_problems(publishers, "firehose_publishers"),
        *_name_problems(readers, "firehose_readers"),
        *_publisher_problems(publishers, "firehose_publishers"),
        *_reader_problems(readers),
        # An empty list is fine: germqtt has firehose_internal_port.
        *(_firehose_listeners.problems(name, own_listeners, variables.get("firehose_tls")) if own_listeners else []),
        *_listener_problems(variables),
        *_unused_problems(variables),
        *_form_problems(variables),
    ]
    both = [str(entry["name"]) for entry in (*publishers, *readers)]
    for name, first, again in password_file.duplicates(both):
        if first < len(publishers) <= again:
            found.append(
                f"firehose_readers[{again - len(publishers)}] ({name}): firehose_publishers[{first}] has the same name"
            )
    if variables["firehose_germqtt"]:
        found.extend(_germqtt_problems(variables))
    return found


def publisher_problems(variables: Entry, options: Entry) -> list[str]:
    """List the problems of the variable of the entry point that adds one publisher."""
    wrong_types = _types.problems(variables, options)
    if wrong_types:
        return wrong_types
    name, publishers = "firehose_publisher", [variables["firehose_publisher"]]
    found = [
        *password_file.user_problems(publishers, name, PASSWORDS),
        *_name_problems(publishers, name),
        *_publisher_problems(publishers, name),
        *(
            f"{name}.{key}: remove it; only firehose_publishers can have limits of their own"
            for key in ("messages", "bytes")
            if key in variables[name]
        ),
    ]
    # The functions for lists name an index.
    return [problem.replace(f"{name}[0]", name) for problem in found]


def verify_problems(variables: Entry, options: Entry) -> list[str]:
    """List the problems of the variables of the entry point that verifies a firehose."""
    return _types.problems(variables, options) or [*_types.range_problems(variables, VERIFY_RANGES)]
