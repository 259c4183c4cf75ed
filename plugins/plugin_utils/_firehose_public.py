# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The public tier as data: the listeners of HAProxy, the brokers behind it, and validation for the role firehose_public."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import password_file
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import transport
from ansible_collections.opendev.firehose.plugins.plugin_utils import (
    _firehose,
    _firehose_listeners,
    _firehose_problems,
    _mosquitto,
    _tls,
    _types,
)

Entry = t.Mapping[str, t.Any]
# firehose_max_memory, where it is a number of bytes
MEMORY = re.compile(r"([0-9]+)([KMGT]?)")
# The bytes of a broker's memory for a topic level, and the number of addresses at all their limits that a broker should bear.
LEVEL_BYTES, ADDRESSES = 717, 64
LOG_SIZE = re.compile(r"[1-9]\d*[KMG]?")
# The smallest and the largest value of each limit. nftables counts in 32 bits.
RANGES: dict[str, tuple[int, int | None]] = dict.fromkeys(
    ("firehose_source_connections", "firehose_source_rate", "firehose_source_burst"), (1, 2**32 - 1)
)
RANGES["firehose_source_kilobytes"] = (1, 2**22)
RANGES["firehose_source_subscriptions"] = (1, 2**28)
# Even 1 allows a client to subscribe to all topics.
RANGES["firehose_client_topic_levels"] = (1, 2**31 - 1)
# For Mosquitto 0 means no limit.
RANGES |= dict.fromkeys(("firehose_max_connections", "firehose_max_queued_messages"), (1, 2**31 - 1))
RANGES["firehose_max_keepalive"] = (_mosquitto.LEAST_KEEPALIVE, 65535)
# The public broker's largest packet is larger by this much.
RANGES["firehose_max_payload"] = (1, 268435455 - 2 * (65536 + 16))
# Each broker has its own ports below 1024.
RANGES["firehose_public_brokers"] = (0, 99)
EDGE_RANGES: dict[str, tuple[int, int | None]] = {
    "firehose_edge_core_port": (1, 65535),
    "firehose_edge_core_timeout": (0, None),
    "firehose_edge_drain_time": (0, None),
}


def _certificates(listeners: t.Iterable[Entry]) -> list[Entry]:
    """Each certificate that listeners have, once."""
    found: list[Entry] = []
    for listener in listeners:
        if listener.get("tls") and listener["tls"] not in found:
            found.append(listener["tls"])
    return found


def _certificate_path(tls: Entry, certificates: t.Sequence[Entry], directory: str) -> str:
    if tls.get("certificate") is None:
        return f"{directory}/text-{certificates.index(tls) + 1}.pem"
    # Other paths give another configuration, which is tested before it replaces the one that works.
    paths = f"{tls['certificate']}\n{tls['key']}".encode()
    return f"{directory}/link-{hashlib.sha256(paths).hexdigest()[:8]}.pem"


def _certificate_files(certificates: t.Sequence[Entry], directory: str) -> dict[str, list[dict[str, t.Any]]]:
    """The paths of certificates for HAProxy and, with the suffix C(.key), their keys: texts as files, and links to other files."""
    files, links = [], []
    for tls in certificates:
        place = _certificate_path(tls, certificates, directory)
        for path, key in ((place, "certificate"), (f"{place}.key", "key")):
            if tls.get(key) is not None:
                links.append({"path": path, "src": tls[key]})
            else:
                files.append(_tls.pem_file(path, tls[f"{key}_pem"]))
    return {"files": files, "links": links}


def _frontend(variable: str, listener: Entry, certificates: t.Sequence[Entry], directory: str) -> dict[str, t.Any]:
    protocol, tls = listener.get("protocol") or "mqtt", listener.get("tls") or {}
    options = ""
    if tls:
        options = (
            f" ssl crt {_certificate_path(tls, certificates, directory)} ssl-min-ver TLSv{tls.get('minimum', '1.2')}"
        )
        options += f" ciphers {tls['ciphers']}" if tls.get("ciphers") else ""
        options += f" verify required ca-file {tls['ca']}" if tls.get("require_certificate") else ""
        options += " alpn http/1.1" if protocol == "websockets" else ""
    address, port = listener.get("bind_address") or "", listener["port"]
    numeric = f"[{address}]" if ":" in address else address
    return {
        "name": f"{port}{f'-{address}' if address else ''}",
        # Without an address: on all addresses, of both families if the kernel has IPv6
        "listen": f"{numeric}:{port}" if address else str(port),
        "tls_options": options,
        "max_connections": max(listener.get("max_connections") or 0, 0),
        "place": {"bind_address": address, "port": port, "variable": variable},
        "protocol": protocol,
        # The endpoint at which the host itself gets an answer
        "answers": {
            "host": transport.own_address(address),
            "port": port,
            "protocol": protocol,
            "tls": bool(tls),
        },
    }


def _public_ports(listeners: t.Iterable[Entry]) -> list[int]:
    return [listener["port"] for listener in _firehose.public_listeners(listeners)]


def served(
    listeners: t.Mapping[str, t.Sequence[Entry]], directory: str, others: t.Sequence[Entry] = ()
) -> dict[str, t.Any]:
    """The listeners of each variable for systemd and HAProxy, with their certificates and ports.

    The others are the listeners of brokers that clients reach without HAProxy.
    """
    every = [*itertools.chain(*listeners.values())]
    certificates = _certificates(every)
    return {
        "frontends": {
            variable: [_frontend(variable, listener, certificates, directory) for listener in own]
            for variable, own in listeners.items()
        },
        **_certificate_files(certificates, directory),
        "tls_pairs": _tls.pairs([*every, *others]),
        "ports": {variable: _public_ports(own) for variable, own in listeners.items()},
        "other_ports": _public_ports(others),
    }


def _network_problem(network: str) -> str | None:
    try:
        parsed = ipaddress.ip_network(network)
    except ValueError as exc:
        return f"{network!r} is no network such as 192.0.2.0/24: {exc}"
    return f"{network!r} is every address; no limit would be left" if parsed.prefixlen == 0 else None


def _public_problems(variables: Entry) -> t.Iterator[str]:
    """The problems of the variables for anonymous clients, on any host."""
    tls = variables.get("firehose_tls")
    yield from _firehose_problems.topic_problems(variables["firehose_public_topics"], "firehose_public_topics")
    yield from _firehose_problems.leaf_problems(variables["firehose_public_sys"], "firehose_public_sys")
    yield from _tls.problems(tls, "firehose_tls")
    if tls is None and not variables["firehose_plain"]:
        yield "firehose_plain: without firehose_tls there would be no listener for anonymous clients"
    yield from _types.range_problems(variables, RANGES)
    if not LOG_SIZE.fullmatch(str(variables["firehose_log_size"])):
        yield "firehose_log_size: has to be a number of bytes, with K, M or G behind it or not, such as 256M"
    for index, network in enumerate(variables["firehose_source_unlimited"]):
        problem = _network_problem(network)
        if problem:
            yield f"firehose_source_unlimited[{index}]: {problem}"
    if not _mosquitto.MEMORY.fullmatch(str(variables["firehose_max_memory"])):
        yield f"firehose_max_memory: {_mosquitto.MEMORY_IS}"


def memory_warnings(variables: Entry) -> list[str]:
    """Warn if the addresses that a broker should bear can take more memory than its limit."""
    limit = MEMORY.fullmatch(str(variables["firehose_max_memory"]))
    if not limit:
        return []
    address = variables["firehose_source_connections"] * variables["firehose_client_topic_levels"] * LEVEL_BYTES
    if ADDRESSES * address <= int(limit[1]) * 1024 ** " KMGT".index(limit[2] or " "):
        return []
    return [
        f"firehose_source_connections and firehose_client_topic_levels let {ADDRESSES} addresses take"
        f" {ADDRESSES * address / 2**30:.1f} GiB of a public broker for topic filters, and firehose_max_memory is {limit[0]}"
    ]


def _core_problems(variables: Entry) -> t.Iterator[str]:
    if "firehose" in variables["group_names"]:
        yield "firehose_edges: this host is in the group firehose too; a core host serves anonymous clients by itself, on the same ports"
    if not _types.HOST.fullmatch(str(variables["firehose_edge_core_host"])):
        yield "firehose_edge_core_host: this is no name and no address of a host"
    if not _tls.PATH.fullmatch(str(variables["firehose_edge_core_ca"])):
        yield "firehose_edge_core_ca: this is not the absolute path of a file, without blanks"
    text = variables.get("firehose_edge_core_ca_pem")
    problem = None if text is None else _tls.certificate_problem(str(text))
    if problem:
        yield f"firehose_edge_core_ca_pem: {problem}"


def _password_problems(account: Entry) -> t.Iterator[str]:
    # The functions for lists name an index.
    for problem in password_file.user_problems([account], ""):
        yield f"firehose_edge_password: {problem.partition(': ')[2]}"


def problems(variables: Entry, options: Entry) -> list[str]:
    """List the problems of the variables for anonymous clients. Quotes no secret."""
    name = "firehose_listeners"
    found, listeners = _firehose_listeners.known_keys(name, variables[name], _firehose_listeners.INSTEAD)
    found += _types.problems({**variables, name: listeners}, options, _tls.PEM_KEYS)
    return found or [
        *_public_problems(variables),
        *_firehose_listeners.problems(name, listeners, variables.get("firehose_tls")),
    ]


def edge_problems(variables: Entry, options: Entry) -> list[str]:
    """List the problems of the variables of edge hosts. Quotes no secret."""
    own_options = {name: option for name, option in options.items() if name.startswith("firehose_edge_")}
    own = {name: value for name, value in variables.items() if name in own_options}
    wrong_types = _types.problems(own, own_options, ("firehose_edge_core_ca_pem",))
    if wrong_types:
        return wrong_types
    account = {"name": "firehose-edge", "password": variables["firehose_edge_password"]}
    return [
        *_password_problems(account),
        *_core_problems(variables),
        *_types.range_problems(variables, EDGE_RANGES),
    ]
