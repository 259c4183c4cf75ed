# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Validation for the role mosquitto: it rejects variables that would give a broken or an unintended configuration."""

from __future__ import annotations

import ipaddress
import itertools
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_file, password_file
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters, transport
from ansible_collections.opendev.firehose.plugins.plugin_utils import _tls, _types

Variables = t.Mapping[str, t.Any]

# The path is in the unit too, where other characters have a meaning for systemd; its directory is made writable.
SOCKET = re.compile(r"(/[A-Za-z0-9._-]+){2,}")
# sockaddr_un has a zero at the end.
LONGEST_SOCKET = 107
FILE = re.compile(r"(/[A-Za-z0-9._-]+)+")
# The name of its user, mosquitto-NAME, has at most 32 characters.
INSTANCE = re.compile(r"[a-z0-9]{0,22}")
INSTANCE_IS = "has to be at most 22 small letters and digits"
# These are the same for all brokers of a host.
OF_THE_HOST = {"mosquitto_instances", "mosquitto_secure_logging", "mosquitto_wait_timeout"}
EXPIRATION = re.compile(r"\d+[hdwmy]")
UMASK = re.compile(r"0[0-7]{3}")
NAMESPACE = re.compile("[A-Za-z0-9_-]{0,64}")
MEMORY = re.compile(r"infinity|[1-9][0-9]*[KMGT]?|[1-9][0-9]?%")
EXPIRATION_IS = "has to be a number and one of h, d, w, m and y, such as 1d"
MEMORY_IS = "has to be a number of bytes, with K, M, G or T behind it or a percentage, or infinity"
# Mosquitto 2.0.11 does not start with a lower max_keepalive.
LEAST_KEEPALIVE = 10
# The smallest and the largest value of each variable that is a number; None is no limit.
RANGES: dict[str, tuple[int, int | None]] = {
    "mosquitto_autosave_changes": (1, None),
    "mosquitto_autosave_interval": (0, None),
    "mosquitto_hash_iterations": (1, password_file.MAX_ITERATIONS),
    "mosquitto_limit_nofile": (64, None),
    "mosquitto_max_inflight_messages": (0, 65535),
    "mosquitto_max_keepalive": (0, 65535),
    "mosquitto_max_packet_size": (20, 268435455),
    "mosquitto_max_queued_bytes": (0, None),
    "mosquitto_max_queued_messages": (0, None),
    "mosquitto_message_size_limit": (0, 268435455),
    "mosquitto_persistence_reserve": (0, None),
    "mosquitto_sys_interval": (0, 65535),
    "mosquitto_wait_timeout": (0, None),
}

# Options that the template writes: a repeated one is an error for the broker, or silently another listener.
ROLE_OPTIONS = {
    "acl_file",
    "allow_anonymous",
    "allow_duplicate_messages",
    "autosave_interval",
    "autosave_on_changes",
    "bind_address",
    "connection",
    "connection_messages",
    "include_dir",
    "listener",
    "log_dest",
    "log_timestamp",
    "log_type",
    "max_connections",
    "max_inflight_messages",
    "max_keepalive",
    "max_packet_size",
    "max_qos",
    "max_queued_bytes",
    "max_queued_messages",
    "message_size_limit",
    "mount_point",
    "password_file",
    "per_listener_settings",
    "persistence",
    "persistence_file",
    "persistence_location",
    "persistent_client_expiration",
    "plugin_opt_db_file",
    "plugin_opt_flush_period",
    "plugin_opt_sync",
    "port",
    "protocol",
    "queue_qos0_messages",
    "retain_available",
    "socket_domain",
    "sys_interval",
    "user",
}
# Outside a listener these belong to a listener on port 1883, which the broker then opens on every address.
LISTENER_OPTIONS = {
    "bind_interface",
    "cafile",
    "capath",
    "certfile",
    "ciphers",
    "ciphers_tls1.3",
    "crlfile",
    "dhparamfile",
    "enable_proxy_protocol",
    "http_dir",
    "keyfile",
    "listener_allow_anonymous",
    "listener_auto_id_prefix",
    "max_topic_alias",
    "psk_hint",
    "require_certificate",
    "tls_engine",
    "tls_engine_kpass_sha1",
    "tls_keyform",
    "tls_version",
    "use_identity_as_username",
    "use_subject_as_username",
    "use_username_as_clientid",
}
# Options of a bridge that the template writes.
BRIDGE_OPTIONS = {
    "address",
    "addresses",
    "bridge_protocol_version",
    "cleansession",
    "clientid",
    "local_clientid",
    "notifications",
    "password",
    "remote_clientid",
    "remote_password",
    "remote_username",
    "topic",
    "try_private",
    "username",
}
# TLS options of a listener that the template writes, and the keys that they come from.
TLS_OPTIONS = {
    "cafile": "ca",
    "certfile": "certificate",
    "ciphers": "ciphers",
    "keyfile": "key",
    "require_certificate": "require_certificate",
    "tls_version": "minimum",
}
SECRET_OPTION = re.compile(r"psk|passw|secret|plugin_opt|kpass")
# Options with which Mosquitto 2.0 does not start.
OPTIONS_SINCE_2_1 = {
    "accept_protocol_versions",
    "bridge_receive_maximum",
    "bridge_session_expiry_interval",
    "disable_client_cert_date_checks",
    "enable_control_api",
    "enable_proxy_protocol",
    "global_max_clients",
    "global_max_connections",
    "global_plugin",
    "listener_allow_anonymous",
    "listener_auto_id_prefix",
    "max_topic_alias_broker",
    "packet_buffer_size",
    "proxy_protocol_v2_require_tls",
    "websockets_origin",
}


def parse_version(version: str) -> tuple[int, ...]:
    """The upstream part of a Debian package version as numbers: C(2.0.11-1.2+deb12u2) is (2, 0, 11)."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def _addresses(listener: Variables) -> set[str]:
    address = listener.get("bind_address") or ""
    return {"127.0.0.1", "::1", address} if address == "localhost" else {address}


def place(listener: Variables) -> str:
    """The port or socket of a listener, in words."""
    return listener.get("socket") or f"port {listener['port']}"


def overlap(one: Variables, other: Variables) -> bool:
    """Return whether two listeners use the same port or socket."""
    if one.get("socket") or other.get("socket"):
        return one.get("socket") == other.get("socket")
    if one.get("port") is None or one["port"] != other.get("port"):
        return False
    addresses = _addresses(one), _addresses(other)
    return bool(addresses[0] & addresses[1]) or any(
        address in transport.ANY_ADDRESS for address in addresses[0] | addresses[1]
    )


def _listener_problem(listener: Variables) -> str | None:
    port, path = listener.get("port"), listener.get("socket")
    if (port is None) == (not path):
        return "needs either port or socket"
    if port is not None and not 1 <= port <= 65535:
        return f"port {port} is not between 1 and 65535"
    if path and not SOCKET.fullmatch(path):
        return f"socket {path!r} is not an absolute path of letters, digits and ._-, below a directory"
    if path and len(path) > LONGEST_SOCKET:
        return f"socket has a path of {len(path)} characters; Linux takes at most {LONGEST_SOCKET}"
    if re.search(r"[\s/]", listener.get("bind_address") or ""):
        return "bind_address cannot have blanks or slashes"
    if path and listener.get("bind_address"):
        return "a socket has no bind_address"
    if path and listener.get("protocol") == "websockets":
        return "Mosquitto has no websockets on a unix socket"
    if path and listener.get("tls") is not None:
        return "clients do not speak TLS through a unix socket"
    if any(char in (listener.get("mount_point") or "") for char in "+#"):
        return "mount_point cannot have wildcards"
    return None


def _is_numeric(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _options_problems(
    options: Variables, path: str, version: tuple[int, ...], elsewhere: t.Container[str]
) -> t.Iterator[str]:
    """The problems of free-form options. Those in elsewhere belong to another place of the configuration."""
    for name in options:
        if not re.fullmatch(r"[a-z0-9_.]+", name):
            yield f"{path}.{name}: no option of Mosquitto has such a name"
        elif name in ROLE_OPTIONS:
            yield f"{path}.{name}: the role writes this option itself, from a variable of its own"
        elif name in elsewhere:
            yield f"{path}.{name}: this option does not belong here, but to a listener, or has a key of its own"
        elif version and version < (2, 1) and name in OPTIONS_SINCE_2_1:
            yield f"{path}.{name}: Mosquitto {'.'.join(map(str, version))} does not know this option"


def _tls_option_problems(listener: Variables, path: str) -> t.Iterator[str]:
    """The problems of free-form options for TLS: pre-shared keys beside a certificate, and options that the key tls sets."""
    options, tls = listener.get("options") or {}, listener.get("tls")
    if "psk_hint" in options:
        if tls is not None:
            yield f"{path}.options.psk_hint: a listener has either pre-shared keys or, with tls, a certificate"
        return
    for name, key in TLS_OPTIONS.items():
        if name in options:
            yield f"{path}.options.{name}: the role writes this option itself, from {path}.tls.{key}"


def listener_problems(listeners: t.Sequence[Variables], version: tuple[int, ...]) -> t.Iterator[str]:
    """The problems of listeners, and conflicts between them."""
    name = "mosquitto_listeners"
    if not listeners:
        yield f"{name}: at least one listener is needed"
    for index, listener in enumerate(listeners):
        problem = _listener_problem(listener)
        if problem:
            yield f"{name}[{index}]: {problem}"
        yield from _options_problems(listener.get("options") or {}, f"{name}[{index}].options", version, BRIDGE_OPTIONS)
        yield from _tls_option_problems(listener, f"{name}[{index}]")
        yield from _tls.problems(listener.get("tls"), f"{name}[{index}].tls")
    for (first, one), (second, other) in itertools.combinations(enumerate(listeners), 2):
        if overlap(one, other):
            yield f"{name}[{second}]: {name}[{first}] listens on {place(one)} already"
    if version and version < (2, 1):
        yield from _old_websockets_problems(listeners, name)


def _old_websockets_problems(listeners: t.Sequence[Variables], name: str) -> t.Iterator[str]:
    """Listeners for websockets that Mosquitto before 2.1 does not support."""
    for index, listener in enumerate(listeners):
        address = listener.get("bind_address")
        tls = listener.get("tls") or {}
        if listener.get("protocol") == "websockets" and str(tls.get("minimum", "1.2")) != "1.2":
            # It does not pass tls_version to libwebsockets, which accepts 1.2 too.
            yield f"{name}[{index}].tls.minimum: Mosquitto before 2.1 cannot keep TLS 1.2 from a listener for websockets"
        if listener.get("protocol") == "websockets" and address and not _is_numeric(address):
            # Its libwebsockets binds every address unless the template can set the family of this one.
            yield f"{name}[{index}]: Mosquitto before 2.1 needs a numeric bind_address for websockets, not {address!r}"
    if listeners and all(item.get("protocol") == "websockets" for item in listeners):
        yield f"{name}: Mosquitto before 2.1 does not start with listeners for websockets only"


def acl_problems(variables: Variables) -> list[str]:
    """ACL rules that the broker would misread or reject, or that allow anonymous clients to publish."""
    name = "mosquitto_acl_allow_anonymous_publish"
    allowed_by = "" if variables[name] else name
    return acl_file.problems(variables.get("mosquitto_acl") or {}, "mosquitto_acl.", allowed_by=allowed_by)


def hash_problems(users: t.Sequence[Variables], variable: str, version: tuple[int, ...]) -> t.Iterator[str]:
    """Hashes that only a newer Mosquitto reads; other problems of hashes are found elsewhere."""
    if not version or version >= (2, 1):
        return
    for index, user in enumerate(users):
        try:
            stored = password_file.parse_hash(str(user.get("password_hash") or ""))
        except password_file.HashError:
            continue
        if stored.algorithm == "argon2id" or len(stored.salt) != password_file.SALT_BYTES[0]:
            yield (
                f"{variable}[{index}] ({user['name']}): Mosquitto before 2.1 cannot read this password_hash; "
                f"it reads $7$ and $6$ with a salt of {password_file.SALT_BYTES[0]} bytes"
            )


def _bridge_topic_problem(topic: Variables) -> str | None:
    if any(re.search(r"\s", str(topic.get(key) or "")) for key in ("pattern", "local_prefix", "remote_prefix")):
        return "the configuration of a bridge cannot hold blanks in a topic"
    return topic_filters.rule_problem(str(topic["pattern"]))


def _bridge_word_problems(bridge: Variables) -> t.Iterator[str]:
    """The problems of a bridge's password and client id, which can be in files of their own."""
    for value, file in (("password", "password_file"), ("client_id", "client_id_file")):
        if bridge.get(value) is not None and bridge.get(file) is not None:
            yield f"{file}: give either this or {value}"
        if bridge.get(file) is not None and not FILE.fullmatch(bridge[file]):
            yield f"{file}: {bridge[file]!r} is not an absolute path of letters, digits and ._-"
        if str(bridge.get(value) or "").startswith("@/"):
            yield f"{value}: cannot start with '@/', which stands for a file"
    if (bridge.get("password") or bridge.get("password_file")) and not bridge.get("username"):
        yield "password: needs a username"


def _bridge_problems(bridge: Variables) -> t.Iterator[str]:
    """The problems of a bridge: the key, and the reason."""
    for key in ("name", "client_id", "username", "password"):
        text = str(bridge.get(key) or "")
        if text != text.strip() or (key == "name" and not text):
            yield f"{key}: cannot be empty, or have blanks at either end"
    for key in ("addresses", "topics"):
        if not bridge[key]:
            yield f"{key}: at least one is needed"
    for number, address in enumerate(bridge["addresses"]):
        if not re.fullmatch(r"\S+", address):
            yield f"addresses[{number}]: {address!r} is not the address of a broker"
    for number, topic in enumerate(bridge["topics"]):
        problem = _bridge_topic_problem(topic)
        if problem:
            yield f"topics[{number}]: {problem}"
    yield from _bridge_word_problems(bridge)


def bridge_problems(bridges: t.Sequence[Variables], version: tuple[int, ...]) -> t.Iterator[str]:
    """Bridges that the broker would reject, or that would forward no messages."""
    for index, bridge in enumerate(bridges):
        path = f"mosquitto_bridges[{index}]"
        for problem in _bridge_problems(bridge):
            yield f"{path}.{problem}"
        yield from _options_problems(
            bridge.get("options") or {}, f"{path}.options", version, LISTENER_OPTIONS | BRIDGE_OPTIONS
        )
    for name, first, again in password_file.duplicates(str(bridge["name"]) for bridge in bridges):
        yield f"mosquitto_bridges[{again}].name: mosquitto_bridges[{first}] is called {name!r} already"


def value_problems(variables: Variables) -> t.Iterator[str]:
    """Numbers out of range, and texts in a wrong format."""
    yield from _types.range_problems(variables, RANGES)
    if 0 < variables["mosquitto_max_keepalive"] < LEAST_KEEPALIVE:
        keepalive = variables["mosquitto_max_keepalive"]
        yield f"mosquitto_max_keepalive: {keepalive} is not between {LEAST_KEEPALIVE} and 65535; 0 is no limit"
    if not EXPIRATION.fullmatch(str(variables["mosquitto_persistent_client_expiration"])):
        yield f"mosquitto_persistent_client_expiration: {EXPIRATION_IS}"
    if not MEMORY.fullmatch(str(variables["mosquitto_memory_max"])):
        yield f"mosquitto_memory_max: {MEMORY_IS}"
    if not NAMESPACE.fullmatch(str(variables["mosquitto_log_namespace"])):
        yield "mosquitto_log_namespace: has to be empty, or letters, digits, '_' and '-'"
    if not variables["mosquitto_accounts"] and variables["mosquitto_users"]:
        yield "mosquitto_accounts: the broker has none, but mosquitto_users lists some"
    if not UMASK.fullmatch(str(variables["mosquitto_umask"])):
        yield "mosquitto_umask: has to be four octal digits in quotes, such as '0027'"


def persistence_problems(variables: Variables, version: tuple[int, ...]) -> t.Iterator[str]:
    """A persistence method that the installed broker does not support."""
    if variables["mosquitto_persistence_method"] == "sqlite" and version and version < (2, 1):
        yield (
            f"mosquitto_persistence_method: Mosquitto {'.'.join(map(str, version))} has no SQLite plugin; that is part of 2.1."
            " Use periodic or changes"
        )


def problems(variables: Variables, options: t.Mapping[str, t.Any], version: str = "") -> list[str]:
    """List the problems of the role's variables, each line naming the variable. Quotes no secret.

    The options are those of the role's argument specs. Without a version, values that only some versions of Mosquitto reject are accepted.
    """
    wrong_types = _types.problems(variables, options, _tls.PEM_KEYS)
    if wrong_types:
        return wrong_types
    number = parse_version(version)
    if variables.get("mosquitto_instance"):
        return ["mosquitto_instance: it is for the entry points account and look; list brokers in mosquitto_instances"]
    if not variables["mosquitto_instances"]:
        return _broker_problems(variables, number)
    found = [*_name_problems(variables["mosquitto_instances"])]
    for index, instance in enumerate(variables["mosquitto_instances"]):
        found += _instance_problems(variables, options, index, instance, number)
    # A problem of a default comes up for each broker that has it.
    return [*dict.fromkeys(found)] or [*_overlap_problems(variables)]


def _broker_problems(variables: Variables, number: tuple[int, ...]) -> list[str]:
    """The problems of one broker."""
    users = variables["mosquitto_users"]
    return [
        *value_problems(variables),
        *persistence_problems(variables, number),
        *listener_problems(variables["mosquitto_listeners"], number),
        *password_file.user_problems(users, "mosquitto_users"),
        *hash_problems(users, "mosquitto_users", number),
        *acl_problems(variables),
        *bridge_problems(variables["mosquitto_bridges"], number),
        *_options_problems(
            variables["mosquitto_options"], "mosquitto_options", number, LISTENER_OPTIONS | BRIDGE_OPTIONS
        ),
    ]


def _name_problem(name: t.Any, path: str) -> t.Iterator[str]:
    # A number, such as 0, is not the text that it looks like.
    if not isinstance(name, str) or not INSTANCE.fullmatch(name):
        yield f"{path}: {INSTANCE_IS}"


def _name_problems(instances: t.Sequence[Variables]) -> t.Iterator[str]:
    for index, instance in enumerate(instances):
        yield from _name_problem(instance.get("name"), f"mosquitto_instances[{index}].name")
    for name, first, again in password_file.duplicates(str(instance.get("name")) for instance in instances):
        yield f"mosquitto_instances[{again}].name: mosquitto_instances[{first}] is called {name!r} already"


def _overlap_problems(variables: Variables) -> t.Iterator[str]:
    """Listeners of different brokers that use the same port or socket."""
    brokers = [
        (instance["name"] or "mosquitto.service", instance.get("listeners", variables["mosquitto_listeners"]))
        for instance in variables["mosquitto_instances"]
    ]
    for (first, ones), (second, others) in itertools.combinations(brokers, 2):
        for one, other in itertools.product(ones, others):
            if overlap(one, other):
                yield f"mosquitto_instances: {first} and {second} both listen on {place(one)}; give each its own listeners"


def _instance_problems(
    variables: Variables, options: t.Mapping[str, t.Any], index: int, instance: Variables, number: tuple[int, ...]
) -> t.Iterator[str]:
    """The problems of one entry of mosquitto_instances, whose keys are variables without their prefix."""
    keys = instance.keys() - {"name", "variables"}
    named = {f"mosquitto_{key}": instance[key] for key in instance if key in keys}
    own_names = {key: f"mosquitto_instances[{index}].{key}" for key in keys} | instance.get("variables", {})
    places = {f"mosquitto_{key}": own_names[key] for key in keys}
    unknown = [name for name in named if name not in options or name in OF_THE_HOST]
    problems = [f"{name}: there is no such key" for name in unknown] or [*_types.type_problems(named, options)]
    for problem in problems or _broker_problems({**variables, **named}, number):
        yield re.sub(r"\bmosquitto_[a-z0-9_]+", lambda match: places.get(match[0], match[0]), problem)


def account_problems(variables: Variables, options: t.Mapping[str, t.Any], version: str = "") -> list[str]:
    """List the problems of the variable of the entry point that adds one account."""
    wrong_types = _types.problems(variables, options)
    if wrong_types:
        return wrong_types
    name, account = "mosquitto_account", variables["mosquitto_account"]
    found = [
        *_name_problem(str(variables.get("mosquitto_instance", "")), "mosquitto_instance"),
        *password_file.user_problems([account], name),
        *hash_problems([account], name, parse_version(version)),
        *acl_file.problems({"users": [account]}, f"{name}."),
    ]
    # The functions for lists name an index.
    return [problem.replace(f"{name}[0]", name).replace(f"{name}.users[0]", name) for problem in found]


def has_secrets(broker: Variables) -> bool:
    """Return whether the configuration of a broker has a password or the like."""
    bridges, listeners = broker["bridges"], broker["listeners"]
    free = [broker["options"], *((item.get("options") or {}) for item in (*bridges, *listeners))]
    return any(bridge.get("password") for bridge in bridges) or any(
        SECRET_OPTION.search(name) for options in free for name in options
    )


def askable(listeners: t.Iterable[Variables]) -> list[Variables]:
    """All listeners but those with pre-shared keys or the PROXY protocol."""
    unknown = {"psk_hint", "enable_proxy_protocol"}
    return [listener for listener in listeners if not unknown & set(listener.get("options") or {})]
