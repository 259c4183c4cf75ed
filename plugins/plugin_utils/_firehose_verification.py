# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The input of a verification: the publishers, the reference publisher, and the listeners."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import transport
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan as _plan
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose, _mosquitto, _tls

Entry = t.Mapping[str, t.Any]


def _written(rules: t.Iterable[Entry]) -> list[str]:
    return [rule["topic"] for rule in rules if rule["access"] in ("write", "readwrite")]


def found(
    publishers: t.Iterable[Entry], accounts_info: Entry, acls_info: Entry, public_acls_info: Entry
) -> dict[str, t.Any]:
    """The publishers, listed or with an account on the host, and the topics that anonymous clients can write. Holds no secrets.

    The latter come from the public broker's ACL rules.
    """
    listed = [
        {
            "name": str(entry["name"]),
            "topics": [*(entry.get("topics") or [])],
            "publishes": entry.get("password") is not None,
        }
        for entry in publishers
        if _firehose.is_present(entry)
    ]
    names = [entry["name"] for entry in listed]
    rules = {user["name"]: user["rules"] for user in acls_info["users"]}
    others = [user["name"] for user in accounts_info["users"] if user["name"] not in names]
    # Anonymous clients have no username. Other patterns apply to them too.
    patterns = [rule for rule in public_acls_info["patterns"] if "%u" not in rule["topic"]]
    return {
        "publishers": [*listed, *({"name": name, "topics": _written(rules.get(name, []))} for name in others)],
        "anonymous_topics": _written([*public_acls_info["anonymous"], *patterns]),
    }


def _endpoint(listener: Entry) -> dict[str, t.Any]:
    """The endpoint at which the host itself reaches one of its listeners."""
    if listener.get("socket"):
        return {"socket": listener["socket"]}
    address = transport.own_address(listener.get("bind_address") or "")
    place = {"host": address, "port": listener["port"], "protocol": listener.get("protocol") or "mqtt"}
    return {**place, "tls": bool(listener.get("tls"))}


def beacon(
    found_on_host: Entry,
    run: str,
    public_topics: t.Sequence[str],
    listeners: t.Iterable[Entry],
    publishers: t.Iterable[Entry] = (),
) -> dict[str, t.Any]:
    """The reference publisher on the firehose's host: its endpoint, its topic, the topics that it watches, and its publishers."""
    askable = [one for one in _mosquitto.askable(listeners) if not (one.get("tls") or {}).get("require_certificate")]
    passwords = {str(entry["name"]): entry.get("password") for entry in publishers if _firehose.is_present(entry)}
    writers = [_plan.Publisher(entry["name"], tuple(entry["topics"])) for entry in found_on_host["publishers"]]
    topics = [_plan.own_topic(writer, run) for writer in writers]
    return {
        "endpoint": next(map(_endpoint, askable), None),
        "topic": _plan.place(public_topics, run, _plan.BEACON),
        "watched": _plan.watched(writers, found_on_host["anonymous_topics"], public_topics, run),
        "publishers": [
            {"number": number, "name": writer.name, "password": passwords[writer.name], "topic": topic}
            for number, (writer, topic) in enumerate(zip(writers, topics))
            if topic and passwords.get(writer.name) is not None
        ],
    }


def verification(
    publishers: t.Sequence[Entry],
    run: str,
    accounts: Entry,
    rules: Entry,
    public_rules: Entry,
    public_topics: t.Sequence[str],
    listeners: t.Sequence[Entry],
    account_listeners: t.Sequence[Entry],
    publish: bool = False,
) -> dict[str, t.Any]:
    """The whole input for the host of a firehose, on which those accounts and rules were found."""
    writers = found(publishers, accounts, rules, public_rules)
    return {
        **writers,
        "beacon": beacon(writers, run, public_topics, account_listeners, publishers if publish else ()),
        "listeners": _firehose.public_listeners(listeners),
        "account_listeners": _firehose.public_listeners(account_listeners),
        "certificates": _tls.certificates([*listeners, *account_listeners]),
    }


def places(hosts: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """The address, listeners and certificates of each host that is not drained, from the variables of the hosts."""

    def place(variables: Entry) -> dict[str, t.Any]:
        name = variables["inventory_hostname"]
        listeners = variables.get("firehose_listeners")
        if listeners is None:
            plain = boolean(variables.get("firehose_plain", True))
            listeners = _firehose.listeners(variables.get("firehose_tls") or {}, plain)
        host = variables.get("firehose_verify_host") or variables.get("ansible_host") or name
        public, certificates = _firehose.public_listeners(listeners), _tls.certificates(listeners)
        return {"name": name, "host": host, "listeners": public, "certificates": certificates}

    return [place(variables) for variables in hosts if variables.get("firehose_edge_state") != "drained"]
