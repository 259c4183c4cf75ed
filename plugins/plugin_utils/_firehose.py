# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The firehose's policy as data: publishers and readers become Mosquitto's accounts and rules."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _accounts, _handshake, _topics, _verify
from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto, _tls, _types

Entry = t.Mapping[str, t.Any]
# The account that the public broker has at the other one, and what the names of those start with that verifying makes and removes
RELAY, PROBE = "firehose-relay", "firehose-verify"
# The smallest and the largest value of each limit for one address; nftables counts in 32 bits.
RANGES = dict.fromkeys(("firehose_source_connections", "firehose_source_rate", "firehose_source_burst"), (1, 2**32 - 1))
RANGES["firehose_source_kilobytes"] = (1, 2**22)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Where accounts log in on the host itself, and from others
LOCAL_PORT, TLS_PORT = 1884, 8884
ACCOUNT_KEYS = ("name", "password", "password_hash", "state")


def _present(entries: t.Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.get("state", "present") == "present"]


def accounts(entries: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """The accounts of publishers and readers, without what they may do."""
    return [{key: entry[key] for key in ACCOUNT_KEYS if entry.get(key) is not None} for entry in entries]


def _user(entry: Entry, access: str, topics: t.Iterable[str]) -> dict[str, t.Any]:
    rules = [{"topic": topic, "access": access} for topic in topics]
    return {"name": entry["name"], "state": entry.get("state", "present"), "rules": rules}


def _readable(reader: Entry) -> list[str]:
    return [*reader.get("topics", ["#"]), *(f"$SYS/{leaf}" for leaf in reader.get("sys", []))]


def acl(
    publishers: t.Iterable[Entry],
    readers: t.Iterable[Entry],
    public_topics: t.Sequence[str] = (),
    public_sys: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """The rules: a publisher writes its own topics, a reader and the public read theirs and their leaves of $SYS."""
    readable_by_all = _readable({"topics": public_topics, "sys": public_sys})
    return {
        "anonymous": [{"topic": topic, "access": "read"} for topic in readable_by_all],
        "users": [
            *(_user(publisher, "write", publisher.get("topics") or []) for publisher in publishers),
            *(_user(reader, "read", _readable(reader)) for reader in readers),
        ],
        # A pattern would be a right of everybody.
        "patterns": [],
    }


def _written(rules: t.Iterable[Entry]) -> list[str]:
    return [rule["topic"] for rule in rules if rule["access"] in ("write", "readwrite")]


def found(
    publishers: t.Iterable[Entry], accounts_info: Entry, acls_info: Entry, public_acls_info: Entry
) -> dict[str, t.Any]:
    """Who may write, as listed or by an account on the host, and what may be written without a name. Holds no secrets.

    The latter is a matter of the public broker's rules.
    """
    listed = [
        {
            "name": str(entry["name"]),
            "topics": [*(entry.get("topics") or [])],
            "publishes": entry.get("password") is not None,
        }
        for entry in _present(publishers)
    ]
    names = [entry["name"] for entry in listed]
    rules = {user["name"]: user["rules"] for user in acls_info["users"]}
    others = [user["name"] for user in accounts_info["users"] if user["name"] not in names]
    # A pattern is for those without a name too, unless it asks for one.
    patterns = [rule for rule in public_acls_info["patterns"] if "%" not in rule["topic"]]
    return {
        "publishers": [*listed, *({"name": name, "topics": _written(rules.get(name, []))} for name in others)],
        "anonymous_topics": _written([*public_acls_info["anonymous"], *patterns]),
    }


def listeners(tls: Entry, plain: bool) -> list[dict[str, t.Any]]:
    """Those of the public for which nobody asks for others: with TLS where there is a certificate, and in the clear where that is wanted."""
    clear = [{"port": 1883}, {"port": 80, "protocol": "websockets"}]
    encrypted = [{"port": 8883, "tls": tls}, {"port": 443, "protocol": "websockets", "tls": tls}]
    return [*(clear if plain else []), *(encrypted if tls else [])]


def account_listeners(tls: Entry) -> list[dict[str, t.Any]]:
    """Those of accounts for which nobody asks for others: without TLS for the host itself, with TLS for other hosts."""
    return [{"port": LOCAL_PORT, "bind_address": LOOPBACK[0]}, *([{"port": TLS_PORT, "tls": tls}] if tls else [])]


def local_port(listeners: t.Iterable[Entry]) -> int | None:
    """Where germqtt, and the public broker, get to those listeners on the host itself; none if they do not."""

    def serves(listener: Entry) -> bool:
        return (
            listener.get("port") is not None
            and listener.get("protocol", "mqtt") == "mqtt"
            and listener.get("bind_address", "") in ("", "0.0.0.0", "127.0.0.1", "localhost")
            and not (listener.get("tls") or listener.get("mount_point"))
            and listener.get("max_qos", 2) > 0
            and bool(_mosquitto.askable([listener]))
        )

    return next((listener["port"] for listener in listeners if serves(listener)), None)


def _endpoint(listener: Entry) -> dict[str, t.Any]:
    """Where the host itself reaches one of its listeners."""
    if listener.get("socket"):
        return {"socket": listener["socket"]}
    address = _handshake.own_address(listener.get("bind_address") or "")
    place = {"host": address, "port": listener["port"], "protocol": listener.get("protocol") or "mqtt"}
    return {**place, "tls": bool(listener.get("tls"))}


def beacon(
    found_on_host: Entry,
    run: str,
    public_topics: t.Sequence[str],
    listeners: t.Iterable[Entry],
    publishers: t.Iterable[Entry] = (),
) -> dict[str, t.Any]:
    """What is published from the firehose's host while it is verified, where, and what is looked out for there."""
    askable = [one for one in _mosquitto.askable(listeners) if not (one.get("tls") or {}).get("require_certificate")]
    passwords = {str(entry["name"]): entry.get("password") for entry in _present(publishers)}
    writers = [_verify.Publisher(entry["name"], tuple(entry["topics"])) for entry in found_on_host["publishers"]]
    topics = [_verify.own_topic(writer, run) for writer in writers]
    return {
        "endpoint": next(map(_endpoint, askable), None),
        "topic": _verify.place(public_topics, run, _verify.BEACON),
        "watched": _verify.watched(writers, found_on_host["anonymous_topics"], public_topics, run),
        "publishers": [
            {"number": number, "name": writer.name, "password": passwords[writer.name], "topic": topic}
            for number, (writer, topic) in enumerate(zip(writers, topics))
            if topic and passwords.get(writer.name) is not None
        ],
    }


def public_listeners(listeners: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """Those that others than the host itself reach. Says of those that are not for everybody's clients why they are not checked."""

    def described(listener: Entry) -> dict[str, t.Any]:
        found = {"port": listener["port"], "protocol": listener.get("protocol", "mqtt")}
        if listener.get("bind_address", "") not in _handshake.ANY_ADDRESS:
            found["address"] = listener["bind_address"]
        tls = listener.get("tls")
        if tls:
            found["tls"] = True
        if not _mosquitto.askable([listener]):
            found["not_checked"] = "it wants pre-shared keys or the PROXY protocol, which is not tried"
        elif tls and tls.get("require_certificate"):
            found["not_checked"] = "it wants certificates of clients, which the public does not have"
        return found

    return [
        described(listener)
        for listener in listeners
        if not listener.get("socket") and listener.get("bind_address", "") not in LOOPBACK
    ]


def _topic_problems(topics: t.Iterable[str], path: str) -> t.Iterator[str]:
    for index, topic in enumerate(topics):
        problem = _topics.rule_problem(str(topic))
        if problem:
            yield f"{path}[{index}]: {problem}"
        elif str(topic).startswith("$"):
            yield f"{path}[{index}]: {topic!r}: topics that start with '$' belong to the broker"


def _publisher_problems(publishers: t.Sequence[Entry], variable: str) -> t.Iterator[str]:
    for index, publisher in enumerate(publishers):
        path = f"{variable}[{index}]"
        if not publisher.get("topics") and publisher in _present(publishers):
            yield f"{path} ({publisher['name']}): needs topics that it may write"
        yield from _topic_problems(publisher.get("topics") or [], f"{path}.topics")


def _reader_problems(readers: t.Sequence[Entry]) -> t.Iterator[str]:
    for index, reader in enumerate(readers):
        path = f"firehose_readers[{index}]"
        yield from _topic_problems(reader.get("topics") or [], f"{path}.topics")
        yield from _leaf_problems(reader.get("sys") or [], f"{path}.sys")


def _leaf_problems(leaves: t.Iterable[str], path: str) -> t.Iterator[str]:
    for number, leaf in enumerate(leaves):
        problem = _topics.rule_problem(str(leaf))
        if problem or str(leaf).startswith(("$", "/")):
            yield f"{path}[{number}]: {problem or 'give what comes after $SYS/'}"


def _germqtt_problems(variables: Entry) -> t.Iterator[str]:
    """germqtt is one of the publishers: it needs an account, a password, and the right to write its topics."""
    name, topic = str(variables["firehose_germqtt_publisher"]), variables["germqtt_topic"]
    for index, publisher in enumerate(variables["firehose_publishers"]):
        if str(publisher["name"]) != name or publisher.get("state", "present") != "present":
            continue
        path = f"firehose_publishers[{index}] ({name})"
        if publisher.get("password") is None:
            yield f"{path}: germqtt logs in with this account, so it needs password; a password_hash is not enough"
        if not any(_topics.covers(own, f"{topic}/#") for own in publisher.get("topics") or []):
            yield f"{path}: germqtt publishes below {topic!r}, so topics needs '{topic}/#'"
        return
    yield f"firehose_publishers: germqtt needs an account: there is none named {name!r}"


def _name_problems(entries: t.Sequence[Entry], variable: str) -> t.Iterator[str]:
    for index, entry in enumerate(entries):
        name = str(entry["name"])
        if name == RELAY:
            yield f"{variable}[{index}]: {RELAY!r} is the account of the public broker"
        elif name.startswith(PROBE) and entry in _present(entries):
            yield f"{variable}[{index}] ({name}): names with {PROBE!r} are for the accounts that verifying makes and removes"


def _listener_problems(variables: Entry) -> t.Iterator[str]:
    """Accounts have listeners of their own, of which one is the public broker's way to what they publish."""
    public, own = variables["firehose_listeners"], variables["firehose_account_listeners"]
    if local_port(own) is None:
        yield (
            "firehose_account_listeners: one without TLS is needed for MQTT on 127.0.0.1 or every address, where the public"
            " broker and germqtt get to it"
        )
    for index, listener in enumerate(own):
        for number, other in enumerate(public):
            if _mosquitto.overlap(listener, other):
                place = listener.get("socket") or f"port {listener['port']}"
                yield f"firehose_account_listeners[{index}]: firehose_listeners[{number}] listens on {place} already"


def _form_problems(variables: Entry) -> t.Iterator[str]:
    """Texts of a form that the role mosquitto has for its own."""
    if not _mosquitto.MEMORY.fullmatch(str(variables["firehose_max_memory"])):
        yield f"firehose_max_memory: {_mosquitto.MEMORY_IS}"
    if not _mosquitto.EXPIRATION.fullmatch(str(variables["firehose_account_session_expiration"])):
        yield f"firehose_account_session_expiration: {_mosquitto.EXPIRATION_IS}"


def _tls_variable_problems(variables: Entry) -> t.Iterator[str]:
    tls = variables.get("firehose_tls")
    yield from _tls.problems(tls, "firehose_tls")
    if tls is None and not variables["firehose_plain"]:
        yield "firehose_plain: without firehose_tls there would be no listener for the public"
    if tls is not None and all(
        listener.get("tls") != tls
        for listener in (*variables["firehose_listeners"], *variables["firehose_account_listeners"])
    ):
        yield "firehose_tls: neither firehose_listeners nor firehose_account_listeners use it; give those that should the key tls"


def problems(variables: Entry, options: Entry) -> list[str]:
    """List what is wrong with the role's variables, each line naming the variable. Quotes no secret.

    The options are those of the role's argument specs.
    """
    wrong_types = [
        *_types.type_problems(variables, options),
        *_types.control_character_problems(variables, texts=_tls.PEM_KEYS),
    ]
    if wrong_types:
        return wrong_types
    publishers, readers = variables["firehose_publishers"], variables["firehose_readers"]
    found = [
        *_accounts.user_problems(publishers, "firehose_publishers"),
        *_accounts.user_problems(readers, "firehose_readers"),
        *_name_problems(publishers, "firehose_publishers"),
        *_name_problems(readers, "firehose_readers"),
        *_publisher_problems(publishers, "firehose_publishers"),
        *_reader_problems(readers),
        *_topic_problems(variables["firehose_public_topics"], "firehose_public_topics"),
        *_leaf_problems(variables["firehose_public_sys"], "firehose_public_sys"),
        *_listener_problems(variables),
        *_tls_variable_problems(variables),
        *_types.range_problems(variables, RANGES),
        *_form_problems(variables),
    ]
    both = [str(entry["name"]) for entry in (*publishers, *readers)]
    for name, first, again in _accounts.duplicates(both):
        if first < len(publishers) <= again:
            found.append(
                f"firehose_readers[{again - len(publishers)}] ({name}): firehose_publishers[{first}] has the same name"
            )
    if variables["firehose_germqtt"]:
        found.extend(_germqtt_problems(variables))
    return found


def publisher_problems(variables: Entry, options: Entry) -> list[str]:
    """The same for the variable of the entry point that adds one publisher."""
    wrong_types = [*_types.type_problems(variables, options), *_types.control_character_problems(variables)]
    if wrong_types:
        return wrong_types
    name, publishers = "firehose_publisher", [variables["firehose_publisher"]]
    found = [
        *_accounts.user_problems(publishers, name),
        *_name_problems(publishers, name),
        *_publisher_problems(publishers, name),
    ]
    # Those who look at lists name a place in them.
    return [problem.replace(f"{name}[0]", name) for problem in found]
