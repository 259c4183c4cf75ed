# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""An edge's policy as data: the public's listeners as HAProxy has them, and what the role firehose_edge refuses."""

from __future__ import annotations

import hashlib
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.opendev.firehose.plugins.module_utils import _accounts, _handshake
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose, _mosquitto, _tls, _types

Entry = t.Mapping[str, t.Any]
# What a listener may have here. The rest is between a client and its broker, which has its own from the role.
LISTENER_KEYS = {"bind_address", "port", "protocol", "tls"}
# The brokers' own ports on the loopback begin here.
BROKER_PORTS = range(21000, 23000)
RANGES: dict[str, tuple[int, int | None]] = {
    "firehose_edge_core_port": (1, 65535),
    "firehose_edge_core_timeout": (0, None),
    "firehose_edge_instances": (0, 999),
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
    # With other paths the configuration is another one, which is tried before it takes the place of the one that works.
    paths = f"{tls['certificate']}\n{tls['key']}".encode()
    return f"{directory}/link-{hashlib.sha256(paths).hexdigest()[:8]}.pem"


def certificates(listeners: t.Sequence[Entry], directory: str) -> dict[str, list[dict[str, t.Any]]]:
    """Where HAProxy finds certificates and, with C(.key) behind the name, their keys: texts as files, and links to other files."""
    found = _certificates(listeners)
    files, links = [], []
    for tls in found:
        place = _certificate_path(tls, found, directory)
        for path, key in ((place, "certificate"), (f"{place}.key", "key")):
            if tls.get(key) is not None:
                links.append({"path": path, "src": tls[key]})
            else:
                files.append(_tls.pem_file(path, tls[f"{key}_pem"]))
    return {"files": files, "links": links}


def frontends(listeners: t.Sequence[Entry], directory: str) -> list[dict[str, t.Any]]:
    """The public's listeners as HAProxy has them: where it listens, with which certificate, and which brokers' listeners serve it."""
    found = _certificates(listeners)

    def frontend(listener: Entry) -> dict[str, t.Any]:
        protocol, tls = listener.get("protocol") or "mqtt", listener.get("tls")
        words = ""
        if tls:
            words = f" ssl crt {_certificate_path(tls, found, directory)} ssl-min-ver TLSv{tls.get('minimum', '1.2')}"
            words += f" ciphers {tls['ciphers']}" if tls.get("ciphers") else ""
            words += " alpn http/1.1" if protocol == "websockets" else ""
        address, port = listener.get("bind_address"), listener["port"]
        name = f"{port}{f'-{address}' if address else ''}"
        # As a broker does for which nobody says where: on every address of both families.
        bind = f"{address}:{port}" if address else f":::{port} v4v6"
        return {
            "name": name,
            "bind": f"{bind}{words}",
            "host": _handshake.own_address(address or ""),
            "port": listener["port"],
            "protocol": protocol,
            "tls": bool(tls),
        }

    return [frontend(listener) for listener in listeners]


def brokers(names: t.Iterable[str], broker: Entry, ports: t.Mapping[str, int]) -> list[dict[str, t.Any]]:
    """The broker instances of an edge host, as the role mosquitto takes them. HAProxy reaches them on the loopback."""

    def listener(name: str, protocol: str) -> dict[str, t.Any]:
        return {"port": ports[protocol] + int(name), "bind_address": "127.0.0.1", "protocol": protocol, "max_qos": 0}

    return [
        {
            **broker,
            "name": name,
            "listeners": [listener(name, "mqtt"), listener(name, "websockets")],
            # The core host keeps messages for each by its client id.
            "bridges": [
                {**bridge, "client_id_file": f"/etc/mosquitto-{name}/client-id"} for bridge in broker["bridges"]
            ],
        }
        for name in names
    ]


def places(hosts: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """Where anonymous clients find each edge host that serves, from the variables of the edge hosts."""

    def place(variables: Entry) -> dict[str, t.Any]:
        name = variables["inventory_hostname"]
        listeners = variables.get("firehose_listeners")
        if listeners is None:
            plain = boolean(variables.get("firehose_plain", True))
            listeners = _firehose.listeners(variables.get("firehose_tls") or {}, plain)
        host = variables.get("firehose_verify_host") or variables.get("ansible_host") or name
        return {"name": name, "host": host, "listeners": _firehose.public_listeners(listeners)}

    return [place(variables) for variables in hosts if variables.get("firehose_edge_state") != "drained"]


def lines(results: t.Iterable[Entry], key: str) -> list[str]:
    """What was said of each edge, every line with its name."""
    return [f"{line} [{result['item']['name']}]" for result in results for line in result[key]]


def _listener_problems(listeners: t.Sequence[Entry]) -> t.Iterator[str]:
    yield from (
        problem.replace("mosquitto_listeners", "firehose_listeners")
        for problem in _mosquitto.listener_problems(listeners, ())
    )
    for index, listener in enumerate(listeners):
        path = f"firehose_listeners[{index}]"
        for key in sorted(set(listener) - LISTENER_KEYS):
            yield f"{path}.{key}: an edge has HAProxy listen, which knows only {', '.join(sorted(LISTENER_KEYS))}"
        if (listener.get("tls") or {}).get("require_certificate"):
            yield f"{path}.tls.require_certificate: an edge does not ask the public for certificates"
        if listener.get("port") in BROKER_PORTS:
            yield f"{path}.port: {listener['port']} is one of those of the edge's own brokers, {BROKER_PORTS[0]} to {BROKER_PORTS[-1]}"


def _core_problems(variables: Entry) -> t.Iterator[str]:
    if "firehose" in variables["group_names"]:
        yield "firehose_edges: this host is in the group firehose too; a core serves the public by itself, on the same ports"
    if not _types.HOST.fullmatch(str(variables["firehose_edge_core_host"])):
        yield "firehose_edge_core_host: this is no name and no address of a host"
    if not _tls.PATH.fullmatch(str(variables["firehose_edge_core_ca"])):
        yield "firehose_edge_core_ca: this is not the absolute path of a file, without blanks"
    text = variables.get("firehose_edge_core_ca_pem")
    problem = None if text is None else _tls.certificate_problem(str(text))
    if problem:
        yield f"firehose_edge_core_ca_pem: {problem}"


def _password_problems(account: Entry) -> t.Iterator[str]:
    # Those who look at lists name a place in them.
    for problem in _accounts.user_problems([account], ""):
        yield f"firehose_edge_password: {problem.partition(': ')[2]}"


def problems(variables: Entry, options: Entry) -> list[str]:
    """List what is wrong with the role's variables, and with the listeners that it has HAProxy serve. Quotes no secret."""
    own = {name: value for name, value in variables.items() if name in options}
    wrong_types = [
        *_types.type_problems(own, options),
        *_types.control_character_problems(own, texts=("firehose_edge_core_ca_pem",)),
    ]
    if wrong_types:
        return wrong_types
    account = {"name": "firehose-edge", "password": variables["firehose_edge_password"]}
    return [
        *_password_problems(account),
        *_core_problems(variables),
        *_listener_problems(variables["firehose_listeners"]),
        *_types.range_problems(variables, RANGES),
    ]
