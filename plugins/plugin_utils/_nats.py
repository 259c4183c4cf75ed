# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The configuration of a NATS server as text, what belongs to it on the host, and what the role nats refuses."""

from __future__ import annotations

import collections
import ipaddress
import itertools
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake
from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto, _tls, _types

Variables = t.Mapping[str, t.Any]

LEAST_VERSION = (2, 10)
SIZE = re.compile(r"([1-9][0-9]*)([KMGT]?)")
DURATION = re.compile(r"([1-9][0-9]*)(ms|s|m|h|d)")
# The number of milliseconds in each unit, of which Go does not know the day.
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
NAME = re.compile(r"[A-Za-z0-9._-]+")
# A reference is looked up among the keys around it before it is among the environment's, and those that are the role's are small.
ENVIRONMENT = re.compile(r"[A-Z_][A-Z0-9_]*")
SIZE_IS = "has to be a number of bytes, or one with K, M, G or T behind it, such as 256M"
DURATION_IS = "has to be a number and one of ms, s, m, h and d, such as 12h"
RANGES: dict[str, tuple[int, int | None]] = {
    "nats_max_connections": (1, None),
    "nats_max_subscriptions": (0, None),
    "nats_max_payload": (1, 64 * 1024 * 1024),
    "nats_max_pending": (1, None),
    "nats_max_control_line": (512, 1024 * 1024),
    "nats_monitoring_port": (0, 65535),
    "nats_ping_max": (1, None),
}
DURATIONS = ("nats_write_deadline", "nats_ping_interval", "nats_lame_duck_duration")
SUBJECT = re.compile(r"[^\s.]+(\.[^\s.]+)*")
# What NATS takes at least, which it does not say before it starts.
LEAST_LAME_DUCK = 30_000
# A majority of fewer is all of them.
LEAST_SERVERS = 3
MOST_REPLICAS = 3

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
# What has a port: the address and the port that it has if nothing else is said.
PLACES = {
    "client": (LOOPBACK, 4222),
    "mqtt": (EVERYWHERE, 1883),
    "websocket": (EVERYWHERE, None),
    "cluster": (EVERYWHERE, 6222),
}
TLS_FILES = {"certificate": "cert_file", "key": "key_file", "ca": "ca_file"}
PEM_KEYS = tuple(f"{key}_pem" for key in TLS_FILES)
# Where NATS reads certificates and keys. The unit copies them there, since often only root reads where they are written.
TLS_DIRECTORY = "/run/nats-server"
STORE_DIRECTORY = "/var/lib/nats"

# Who says how long sessions are kept, in each account that has some.
SESSIONS_USER = "nats-sessions"
SESSIONS_PASSWORD = "NATS_SESSIONS_PASSWORD"
# What sessions may take of the account's storage. Where that is full, NATS lets nobody in.
SESSIONS_PART = 4
SESSIONS_API = [f"$JS.API.STREAM.{action}.$MQTT_sess" for action in ("INFO", "CREATE", "UPDATE")]


class _Reference(str):
    """The name of a variable of the server's environment."""

    __slots__ = ()


def size(text: str | int) -> int:
    """A number of bytes. NATS itself takes K for 1000 in some places and for 1024 in others."""
    number, unit = t.cast("re.Match[str]", SIZE.fullmatch(str(text))).groups()
    return int(number) * 1024 ** " KMGT".index(unit or " ")


def milliseconds(text: str) -> int:
    """How long a duration is."""
    number, unit = t.cast("re.Match[str]", DURATION.fullmatch(str(text))).groups()
    return int(number) * UNITS[unit]


def _duration(text: str) -> str:
    return f"{milliseconds(text) // UNITS['h']}h" if str(text).endswith("d") else str(text)


# ---- the configuration ----------------------------------------------------------------------------------------------


def _scalar(value: t.Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, _Reference):
        return f"${value}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _lines(values: Variables, indent: str = "") -> t.Iterator[str]:
    """A map in NATS's syntax, one key a line, without those that are None."""
    for key, value in values.items():
        name = key if re.fullmatch("[a-z_]+", key) else _scalar(key)
        if isinstance(value, t.Mapping):
            yield f"{indent}{name}: {{"
            yield from _lines(value, f"{indent}  ")
            yield f"{indent}}}"
        elif isinstance(value, list) and value and isinstance(value[0], t.Mapping):
            yield f"{indent}{name}: ["
            for item in value:
                yield f"{indent}  {{"
                yield from _lines(item, f"{indent}    ")
                yield f"{indent}  }}"
            yield f"{indent}]"
        elif isinstance(value, list):
            yield f"{indent}{name}: [{', '.join(map(_scalar, value))}]"
        elif value is not None:
            yield f"{indent}{name}: {_scalar(value)}"


def _section(variables: Variables, name: str) -> Variables | None:
    """What listens, with address and port, if it is asked for."""
    given = variables.get(f"nats_{name}")
    if given is None:
        return None
    address, port = PLACES[name]
    return {"bind_address": address, "port": port, **given}


def _listener(variables: Variables, name: str) -> dict[str, t.Any]:
    section = _section(variables, name) or {}
    found = {"host": section["bind_address"], "port": section["port"]}
    tls = section.get("tls")
    if tls:
        files = {
            option: f"{TLS_DIRECTORY}/{name}-{key}.pem"
            for key, option in TLS_FILES.items()
            if tls.get(key) or tls.get(f"{key}_pem")
        }
        # Between servers, NATS asks both sides for a certificate.
        found["tls"] = {**files, "min_version": tls.get("minimum", "1.2")}
    return found


def _permissions(user: Variables) -> dict[str, t.Any] | None:
    found = {
        kind: {verb: list(user[kind][verb]) for verb in ("allow", "deny") if user[kind].get(verb) is not None}
        for kind in ("publish", "subscribe")
        if user.get(kind)
    }
    return found or None


def _user(user: Variables) -> dict[str, t.Any]:
    password = user.get("password_env")
    types = user.get("connection_types")
    return {
        "user": str(user["name"]),
        "password": str(user["password"]) if password is None else _Reference(password),
        "allowed_connection_types": None if types is None else list(types),
        "permissions": _permissions(user),
    }


def _sessions_user(account: Variables) -> str:
    return f"{SESSIONS_USER}.{account['name']}"


def _has_sessions(account: Variables) -> bool:
    """Whether clients of an account may speak MQTT."""
    return bool(account.get("jetstream")) and any(
        user.get("connection_types") is None or {"MQTT", "MQTT_WS"} & {*user["connection_types"]}
        for user in _users([account])
    )


def _limited(variables: Variables) -> bool:
    """Whether something is said of how long sessions are kept."""
    return (variables.get("nats_mqtt") or {}).get("session_expiration") is not None


def _account(account: Variables, variables: Variables) -> dict[str, t.Any]:
    users = _users([account])
    if _limited(variables) and _has_sessions(account):
        # What it may do is no more than its one task takes.
        users.append(
            {
                "name": _sessions_user(account),
                "password_env": SESSIONS_PASSWORD,
                "connection_types": ["STANDARD"],
                "publish": {"allow": SESSIONS_API},
                "subscribe": {"allow": [f"$JS.{SESSIONS_USER}.>"]},
            }
        )
    jetstream, limits = account.get("jetstream"), account.get("limits")
    return {
        "jetstream": jetstream
        and {
            "max_memory": size(jetstream["max_memory"]),
            "max_store": size(jetstream["max_storage"]),
            "max_streams": jetstream.get("max_streams"),
            "max_consumers": jetstream.get("max_consumers"),
        },
        "limits": limits and {key: limits.get(key) for key in ("max_connections", "max_subscriptions", "max_payload")},
        "users": list(map(_user, users)),
    }


def _replicas(variables: Variables) -> int:
    cluster = variables.get("nats_cluster")
    return min(len(cluster["hosts"]), MOST_REPLICAS) if cluster else 1


def _cluster(variables: Variables) -> dict[str, t.Any] | None:
    cluster = _section(variables, "cluster")
    if cluster is None:
        return None
    hosts = [f"[{host}]" if ":" in host else host for host in map(str, cluster["hosts"])]
    return {
        "name": str(cluster["name"]),
        **_listener(variables, "cluster"),
        "routes": [f"nats-route://{host}:{cluster['port']}" for host in hosts],
        # Where nobody gets to from another host, nobody is told of it.
        "no_advertise": True if _is_loopback(_section(variables, "client")["bind_address"]) else None,
    }


def _mqtt(variables: Variables) -> dict[str, t.Any] | None:
    mqtt = variables.get("nats_mqtt")
    if mqtt is None:
        return None
    times = {
        key: _duration(mqtt[key]) for key in ("ack_wait", "consumer_inactive_threshold") if mqtt.get(key) is not None
    }
    return {
        **_listener(variables, "mqtt"),
        "no_auth_user": mqtt.get("no_auth_user"),
        # Else NATS looks the servers' names up each time, and takes each of their addresses for a server.
        "stream_replicas": _replicas(variables),
        **times,
        **{key: mqtt.get(key) for key in ("max_ack_pending", "reject_qos2_publish", "downgrade_qos2_subscribe")},
    }


def _websocket(variables: Variables) -> dict[str, t.Any] | None:
    websocket = variables.get("nats_websocket")
    if websocket is None:
        return None
    return {
        **_listener(variables, "websocket"),
        "no_tls": None if websocket.get("tls") else True,
        "no_auth_user": websocket.get("no_auth_user"),
    }


def config(variables: Variables) -> str:
    """The configuration that the role's variables ask for."""
    jetstream, port = variables.get("nats_jetstream"), variables["nats_monitoring_port"]
    accounts = variables["nats_accounts"]
    values = {
        "server_name": str(variables["nats_server_name"]),
        **_listener(variables, "client"),
        "http": f"{LOOPBACK}:{port}" if port else None,
        **{
            key: variables[f"nats_{key}"]
            for key in ("max_connections", "max_subscriptions", "max_payload", "max_pending", "max_control_line")
        },
        "write_deadline": _duration(variables["nats_write_deadline"]),
        "ping_interval": _duration(variables["nats_ping_interval"]),
        "ping_max": variables["nats_ping_max"],
        "lame_duck_duration": _duration(variables["nats_lame_duck_duration"]),
        "logtime": False,  # the journal has it
        "jetstream": jetstream
        and {
            "store_dir": STORE_DIRECTORY,
            "max_memory_store": size(jetstream["max_memory"]),
            "max_file_store": size(jetstream["max_storage"]),
        },
        "cluster": _cluster(variables),
        "mqtt": _mqtt(variables),
        "websocket": _websocket(variables),
        "accounts": {account["name"]: _account(account, variables) for account in accounts} or None,
        "system_account": next((account["name"] for account in accounts if account.get("system")), None),
    }
    return "".join(f"{line}\n" for line in _lines(values))


# ---- what belongs to it ---------------------------------------------------------------------------------------------


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def service(variables: Variables, directory: str) -> dict[str, t.Any]:
    """What unit and files are made of: certificates and keys that are texts, below a directory, and what is said of sessions."""
    files, copies = [], []
    for name in PLACES:
        tls = (variables.get(f"nats_{name}") or {}).get("tls") or {}
        for key in TLS_FILES:
            text, path = tls.get(f"{key}_pem"), tls.get(key)
            if text is not None:
                path = f"{directory}/{name}-{key}.pem"
                files.append(_tls.pem_file(path, text))
            if path is not None:
                copies.append({"src": path, "dest": f"{TLS_DIRECTORY}/{name}-{key}.pem"})
    client = _section(variables, "client") or {}
    address, replicas = client["bind_address"], _replicas(variables)
    sessions = _limited(variables) and {
        "address": LOOPBACK if address in _handshake.ANY_ADDRESS else address,
        "port": client["port"],
        "seconds": max(1, milliseconds(variables["nats_mqtt"]["session_expiration"]) // 1000),
        "replicas": replicas,
        # Each with the bytes that sessions may take.
        "users": [
            f"{_sessions_user(account)}:{size(account['jetstream']['max_storage']) // SESSIONS_PART // replicas}"
            for account in variables["nats_accounts"]
            if _has_sessions(account)
        ],
    }
    ports = [place["port"] for _variable, place in _places(variables)]
    return {
        "files": files,
        "copies": copies,
        "sessions": sessions or {},
        "has_privileged_port": min(ports) < 1024,
        "go_memory": size(variables["nats_memory_max"]) * 9 // 10
        if variables["nats_memory_max"] != "infinity"
        else None,
    }


# ---- what is refused ------------------------------------------------------------------------------------------------


def _places(variables: Variables) -> list[tuple[str, Variables]]:
    """All ports that are opened, with the variables that ask for them."""
    sections = [(f"nats_{name}", _section(variables, name)) for name in PLACES]
    monitoring = {"bind_address": LOOPBACK, "port": variables["nats_monitoring_port"]}
    found = [(variable, section) for variable, section in sections if section is not None]
    return [*found, ("nats_monitoring_port", monitoring)] if monitoring["port"] else found


def _users(accounts: t.Iterable[Variables]) -> list[Variables]:
    return [user for account in accounts for user in account.get("users") or []]


def _repeated(names: t.Iterable[str]) -> list[str]:
    return [name for name, count in collections.Counter(names).items() if count > 1]


def _place_problems(variables: Variables) -> t.Iterator[str]:
    places = _places(variables)
    for variable, place in places:
        if not 1 <= place["port"] <= 65535:
            yield f"{variable}: port {place['port']} is not between 1 and 65535"
        if not _types.HOST.fullmatch(str(place["bind_address"])):
            yield f"{variable}.bind_address: this is no name and no address of a host"
    for (first, one), (second, other) in itertools.combinations(places, 2):
        if _mosquitto.overlap(one, other):
            yield f"{second}: {first} has port {one['port']} already"


def _tls_problems(variables: Variables) -> t.Iterator[str]:
    for name in PLACES:
        tls = (variables.get(f"nats_{name}") or {}).get("tls")
        if tls is None:
            continue
        path = f"nats_{name}.tls"
        yield from _tls.problems({key: value for key, value in tls.items() if not key.startswith("ca")}, path)
        for key in TLS_FILES:
            # They stand in the unit, where systemd reads more into other characters.
            if tls.get(key) is not None and not _mosquitto.FILE.fullmatch(str(tls[key])):
                yield f"{path}.{key}: this is not the absolute path of a file, of letters, digits and ._-"
        if name == "cluster" and (tls.get("ca") is None) == (tls.get("ca_pem") is None):
            yield f"{path}: needs either ca or ca_pem, which says whose certificates the other servers have"
        problem = _tls.certificate_problem(str(tls["ca_pem"])) if tls.get("ca_pem") is not None else None
        if problem:
            yield f"{path}.ca_pem: {problem}"


def _form_problems(variables: Variables) -> t.Iterator[str]:
    """Texts of another form than theirs, by their variables and keys."""
    mqtt, jetstream = variables.get("nats_mqtt") or {}, variables.get("nats_jetstream") or {}
    durations = [(name, variables[name]) for name in DURATIONS]
    durations += [
        (f"nats_mqtt.{key}", mqtt[key])
        for key in ("session_expiration", "consumer_inactive_threshold", "ack_wait")
        if mqtt.get(key) is not None
    ]
    sizes = [(f"nats_jetstream.{key}", value) for key, value in jetstream.items()]
    for index, account in enumerate(variables["nats_accounts"]):
        own = account.get("jetstream") or {}
        sizes += [
            (f"nats_accounts[{index}].jetstream.{key}", own[key]) for key in ("max_memory", "max_storage") if key in own
        ]
    if variables["nats_memory_max"] != "infinity":
        sizes.append(("nats_memory_max", variables["nats_memory_max"]))
    for name, value in durations:
        if not DURATION.fullmatch(str(value)):
            yield f"{name}: {DURATION_IS}"
    for name, value in sizes:
        if not SIZE.fullmatch(str(value)):
            yield f"{name}: {SIZE_IS}{', or infinity' if name == 'nats_memory_max' else ''}"
    if not NAME.fullmatch(str(variables["nats_server_name"])):
        yield "nats_server_name: has to be of letters, digits and ._-"
    for index, path in enumerate(variables["nats_environment_files"]):
        if not _mosquitto.FILE.fullmatch(str(path)):
            yield f"nats_environment_files[{index}]: this is not the absolute path of a file, of letters, digits and ._-"


def _limit_problems(variables: Variables) -> t.Iterator[str]:
    """Limits that do not go together, which NATS does not say before it starts. They are of the right form."""
    if variables["nats_max_payload"] > variables["nats_max_pending"]:
        yield "nats_max_payload: is more than nats_max_pending, so that nobody would get such a message"
    if milliseconds(variables["nats_lame_duck_duration"]) < LEAST_LAME_DUCK:
        yield "nats_lame_duck_duration: NATS takes no less than 30s"
    server = variables.get("nats_jetstream")
    for index, account in enumerate(variables["nats_accounts"]):
        own = account.get("jetstream")
        for key in ("max_memory", "max_storage"):
            if server and own and size(own[key]) > size(server[key]):
                yield f"nats_accounts[{index}].jetstream.{key}: is more than nats_jetstream.{key}"


def _cluster_problems(variables: Variables) -> t.Iterator[str]:
    cluster = variables.get("nats_cluster")
    if cluster is None:
        return
    if not NAME.fullmatch(str(cluster["name"])):
        yield "nats_cluster.name: has to be of letters, digits and ._-"
    hosts = list(map(str, cluster["hosts"]))
    if len(hosts) < LEAST_SERVERS:
        yield f"nats_cluster.hosts: {len(hosts)} are not enough; without one of them the others have no majority, so at least {LEAST_SERVERS}"
    for host in _repeated(hosts):
        yield f"nats_cluster.hosts: {host!r} is there more than once"
    for index, host in enumerate(hosts):
        if not _types.HOST.fullmatch(host):
            yield f"nats_cluster.hosts[{index}]: {host!r} is no name and no address of a host"
    if str(variables["nats_server_name"]) in _repeated(map(str, variables.get("server_names", []))):
        yield f"nats_server_name: another server of the cluster is called {variables['nats_server_name']!r} too"
    for other in variables.get("clusters", []):
        if sorted(map(str, other["hosts"])) == sorted(hosts) and other["name"] != cluster["name"]:
            yield f"nats_cluster.name: these hosts are a cluster called {other['name']!r} to another of them, which would not let this server in"


def _user_problems(user: Variables, accounts: t.Container[str]) -> t.Iterator[str]:
    """What is wrong with a user: the key, and why."""
    name = str(user["name"])
    if not name or name.startswith(f"{SESSIONS_USER}."):
        yield f"name: cannot be empty, or begin with {SESSIONS_USER}., which is the role's own"
    if (user.get("password") is None) == (user.get("password_env") is None):
        yield "password: needs either this or password_env"
    if user.get("password") == "":
        yield "password: cannot be empty"
    variable = user.get("password_env")
    if variable is not None and (not ENVIRONMENT.fullmatch(str(variable)) or variable in accounts):
        yield "password_env: has to be of capital letters, digits and _, and not the name of an account"
    for kind in ("publish", "subscribe"):
        for verb, subjects in (user.get(kind) or {}).items():
            for subject in subjects or []:
                if not SUBJECT.fullmatch(str(subject)):
                    yield f"{kind}.{verb}: {subject!r} is no subject"


def _account_problems(variables: Variables) -> t.Iterator[str]:
    accounts = variables["nats_accounts"]
    names = [str(account["name"]) for account in accounts]
    for index, account in enumerate(accounts):
        path = f"nats_accounts[{index}]"
        if not NAME.fullmatch(names[index]):
            yield f"{path}.name: has to be of letters, digits and ._-"
        if account.get("jetstream") and account.get("system"):
            yield f"{path}.jetstream: the system account cannot have any"
        elif account.get("jetstream") and variables.get("nats_jetstream") is None:
            yield f"{path}.jetstream: needs nats_jetstream"
        for number, user in enumerate(account.get("users") or []):
            for problem in _user_problems(user, names):
                yield f"{path}.users[{number}].{problem}"
    users = [str(user["name"]) for user in _users(accounts)]
    for what, found in (("account", names), ("user", users)):
        for name in _repeated(found):
            yield f"nats_accounts: there is more than one {what} {name!r}"
    if sum(bool(account.get("system")) for account in accounts) > 1:
        yield "nats_accounts: only one can be the system account"


def _public_problems(variables: Variables) -> t.Iterator[str]:
    """What would be open to everybody, or would not work, with the accounts that there are."""
    accounts, mqtt = variables["nats_accounts"], variables.get("nats_mqtt")
    users = {str(user["name"]) for user in _users(accounts)}
    for name in ("mqtt", "websocket"):
        nobody = (variables.get(f"nats_{name}") or {}).get("no_auth_user")
        if nobody is not None and str(nobody) not in users:
            yield f"nats_{name}.no_auth_user: no account of nats_accounts has a user {nobody!r}"
    is_open = not _is_loopback(str((_section(variables, "client") or {})["bind_address"]))
    if not users and (mqtt is not None or variables.get("nats_websocket") is not None or is_open):
        yield "nats_accounts: needs a user; without any, everybody who connects may do everything"
    if mqtt is not None and not any(map(_has_sessions, accounts)):
        yield "nats_mqtt: needs nats_jetstream, and an account with jetstream whose users may speak MQTT"


def problems(variables: Variables, options: Variables, version: str = "") -> list[str]:
    """List what is wrong with the role's variables, each line naming the variable. Quotes no secret.

    The options are those of the role's argument specs. The version is that of the package, or of the one that would be installed.
    """
    number = _mosquitto.parse_version(version)
    if number and number < LEAST_VERSION:
        return [f"the role nats needs NATS 2.10 or later, which Debian has since 13; this host's is {version}"]
    own = {name: value for name, value in variables.items() if name in options}
    found = [*_types.type_problems(own, options), *_types.control_character_problems(own, texts=PEM_KEYS)]
    found = found or [
        *_form_problems(variables),
        *_types.range_problems(variables, RANGES),
        *_place_problems(variables),
        *_tls_problems(variables),
        *_cluster_problems(variables),
        *_account_problems(variables),
        *_public_problems(variables),
    ]
    return found or list(_limit_problems(variables))
