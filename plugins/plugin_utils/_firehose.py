# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The firehose's policy as data: publishers and readers become Mosquitto's accounts and rules, at listeners of their own."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _handshake, _verify
from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto

Entry = t.Mapping[str, t.Any]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Where accounts log in on the host itself, and from others
LOCAL_PORT, TLS_PORT = 1884, 8884
ACCOUNT_KEYS = ("name", "password", "password_hash", "state")


def is_present(entry: Entry) -> bool:
    """Whether it is not to be removed."""
    return entry.get("state", "present") == "present"


def _present(entries: t.Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if is_present(entry)]


def accounts(entries: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """The accounts of publishers and readers, without what they may do."""
    return [{key: entry[key] for key in ACCOUNT_KEYS if entry.get(key) is not None} for entry in entries]


def _rules(access: str, topics: t.Iterable[str]) -> list[dict[str, str]]:
    return [{"topic": topic, "access": access} for topic in topics]


def _user(entry: Entry, rules: list[dict[str, str]]) -> dict[str, t.Any]:
    return {"name": entry["name"], "state": entry.get("state", "present"), "rules": rules}


def _readable(reader: Entry) -> list[str]:
    return [*reader.get("topics", ["#"]), *(f"$SYS/{leaf}" for leaf in reader.get("sys", []))]


def acl(
    publishers: t.Iterable[Entry],
    readers: t.Iterable[Entry],
    public_topics: t.Sequence[str] = (),
    public_sys: t.Sequence[str] = (),
    private: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """The rules: a publisher writes its own topics, a reader and the public read theirs and their leaves of $SYS.

    A publisher may have a private topic, which it reads as well.
    """
    own = {name: _rules("readwrite", [topic]) for name, topic in (private or {}).items()}
    readable_by_all = _readable({"topics": public_topics, "sys": public_sys})
    return {
        "anonymous": _rules("read", readable_by_all),
        "users": [
            *(
                _user(one, [*_rules("write", one.get("topics") or []), *own.get(str(one["name"]), [])])
                for one in publishers
            ),
            *(_user(reader, _rules("read", _readable(reader))) for reader in readers),
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


def serves_locally(listener: Entry) -> bool:
    """Whether a program on the host itself can publish there with MQTT over TCP, on 127.0.0.1 and without TLS."""
    return (
        listener.get("port") is not None
        and listener.get("protocol", "mqtt") == "mqtt"
        and listener.get("bind_address", "") in ("", "0.0.0.0", "127.0.0.1", "localhost")
        and not (listener.get("tls") or listener.get("mount_point"))
        and listener.get("max_qos", 2) > 0
        and bool(_mosquitto.askable([listener]))
    )


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
