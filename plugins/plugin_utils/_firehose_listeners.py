# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Validation of the listeners that HAProxy serves, for anonymous clients or for accounts."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto

Entry = t.Mapping[str, t.Any]
# On 127.0.0.1: public broker N has 600 + N and 700 + N, the accounts broker 800 and 801, the metrics of HAProxy 700 and 802.
OWN_PORTS = range(600, 803)
# Keys of listeners in role mosquitto that HAProxy does not support, and what to use instead.
NOT_OF_HAPROXY = {"options": "remove it; HAProxy opens the port, and Mosquitto's options do not apply to it"}
INSTEAD = {
    **NOT_OF_HAPROXY,
    "max_connections": "use firehose_max_connections",
    "max_qos": "remove it; anonymous clients get QoS 0",
    "mount_point": "remove it; firehose_public_topics says which topics anonymous clients can read",
    "socket": "use firehose_account_listeners for clients on the host itself",
    **dict.fromkeys(
        ("tls.ca", "tls.require_certificate"), "use firehose_account_listeners; anonymous clients have no certificates"
    ),
}
ACCOUNT_INSTEAD = {
    **NOT_OF_HAPROXY,
    "max_qos": "remove it; accounts can use every QoS",
    "mount_point": "remove it; firehose_publishers and firehose_readers say which topics an account can use",
}


def reserved_port_problem(port: int) -> str | None:
    """Say why a listener cannot have a port that the firehose uses on the loopback, or None."""
    if port not in OWN_PORTS:
        return None
    return f"{port} is one of {OWN_PORTS[0]} to {OWN_PORTS[-1]}, which are for brokers and HAProxy's metrics"


def _place_problem(listener: Entry) -> str | None:
    if listener.get("socket"):
        return None
    address = listener.get("bind_address")
    problem = reserved_port_problem(listener.get("port", 0))
    if problem:
        return f"port: {problem}"
    try:
        ipaddress.ip_address(address or "::")
    except ValueError:
        return f"bind_address: {address!r} is no IP address; systemd opens the port, and takes no names"
    if "%" in (address or ""):
        return f"bind_address: {address!r} has the name of an interface; give an address without one"
    return None


def _without(value: t.Any, instead: t.Mapping[str, str], place: str, problems: list[str], prefix: str = "") -> t.Any:
    """A dictionary without the keys that HAProxy does not support, which become problems. Other values stay unchanged."""
    if not isinstance(value, t.Mapping):
        return value
    problems += [f"{place}.{prefix}{key}: {instead[prefix + key]}" for key in value if prefix + key in instead]
    return {key: item for key, item in value.items() if prefix + key not in instead}


def known_keys(variable: str, listeners: t.Any, instead: t.Mapping[str, str]) -> tuple[list[str], t.Any]:
    """The replacements for keys that only listeners of role mosquitto have, and the listeners without those keys."""
    problems: list[str] = []
    if not isinstance(listeners, list):
        return problems, listeners
    found = []
    for index, listener in enumerate(listeners):
        place = f"{variable}[{index}]"
        known = _without(listener, instead, place, problems)
        if isinstance(known, dict) and "tls" in known:
            known["tls"] = _without(known["tls"], instead, place, problems, "tls.")
        found.append(known)
    return problems, found


def problems(variable: str, listeners: t.Sequence[Entry], tls_variable: Entry | None) -> t.Iterator[str]:
    """List the problems of listeners that have known keys of the right types."""
    for index, listener in enumerate(listeners):
        problem = _place_problem(listener)
        if problem:
            yield f"{variable}[{index}].{problem}"
    # Problems of firehose_tls are reported only once.
    known = [{key: value for key, value in one.items() if key != "tls" or value != tls_variable} for one in listeners]
    yield from (problem.replace("mosquitto_listeners", variable) for problem in _mosquitto.listener_problems(known, ()))
