# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The firehose's policy as data: publishers and readers become Mosquitto's accounts and ACL rules, with their own listeners."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import transport
from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto

Entry = t.Mapping[str, t.Any]
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# The ports for accounts, from the host itself and from other hosts
LOCAL_PORT, TLS_PORT = 1884, 8884
ACCOUNT_KEYS = ("name", "password", "password_file", "password_hash", "state")


def is_present(entry: Entry) -> bool:
    """Return whether an entry is not to be removed."""
    return entry.get("state", "present") == "present"


def _accounts(entries: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """The accounts of publishers and readers, without their topics."""
    found = [{key: entry.get(key) for key in ACCOUNT_KEYS} for entry in entries]
    return [{key: value for key, value in account.items() if value is not None} for account in found]


def _rules(access: str, topics: t.Iterable[str]) -> list[dict[str, str]]:
    return [{"topic": topic, "access": access} for topic in topics]


def _user(entry: Entry, rules: list[dict[str, str]]) -> dict[str, t.Any]:
    return {"name": entry["name"], "state": entry.get("state", "present"), "rules": rules}


def _readable(reader: Entry) -> list[str]:
    return [*reader.get("topics", ["#"]), *(f"$SYS/{leaf}" for leaf in reader.get("sys", []))]


def policy(
    publishers: t.Sequence[Entry],
    readers: t.Sequence[Entry] = (),
    public_topics: t.Sequence[str] = (),
    public_sys: t.Sequence[str] = (),
    private: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """The accounts and the ACL rules: a publisher writes its topics; readers and anonymous clients read theirs, and theirs below $SYS.

    A publisher can have a private topic, which it reads too.
    """
    own = {name: _rules("readwrite", [topic]) for name, topic in (private or {}).items()}
    readable_by_all = _readable({"topics": public_topics, "sys": public_sys})
    rules = {
        "anonymous": _rules("read", readable_by_all),
        "users": [
            *(
                _user(one, [*_rules("write", one.get("topics") or []), *own.get(str(one["name"]), [])])
                for one in publishers
            ),
            *(_user(reader, _rules("read", _readable(reader))) for reader in readers),
        ],
        # A pattern would apply to all clients.
        "patterns": [],
    }
    return {"users": _accounts([*publishers, *readers]), "acl": rules}


def listeners(tls: Entry, plain: bool = True, accounts: bool = False) -> list[dict[str, t.Any]]:
    """The default listeners: with TLS if there is a certificate, and without TLS if plain is true.

    Listeners for accounts without TLS are for the host itself.
    """
    if accounts:
        local = {"port": LOCAL_PORT, "bind_address": LOOPBACK[0]}
        return [*([local] if plain else []), *([{"port": TLS_PORT, "tls": tls}] if tls else [])]
    clear = [{"port": 1883}, {"port": 80, "protocol": "websockets"}]
    encrypted = [{"port": 8883, "tls": tls}, {"port": 443, "protocol": "websockets", "tls": tls}]
    return [*(clear if plain else []), *(encrypted if tls else [])]


def serves_locally(listener: Entry) -> bool:
    """Return whether a program on the host itself can publish at a listener with MQTT over TCP, on 127.0.0.1 and without TLS."""
    return (
        listener.get("port") is not None
        and listener.get("protocol", "mqtt") == "mqtt"
        and listener.get("bind_address", "") in ("", "0.0.0.0", "127.0.0.1", "localhost")
        and not (listener.get("tls") or listener.get("mount_point"))
        and listener.get("max_qos", 2) > 0
        and bool(_mosquitto.askable([listener]))
    )


def public_listeners(listeners: t.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """The listeners that other hosts reach. Those that are not for all clients have the reason why they are not checked."""

    def described(listener: Entry) -> dict[str, t.Any]:
        found = {"port": listener["port"], "protocol": listener.get("protocol", "mqtt")}
        if listener.get("bind_address", "") not in transport.ANY_ADDRESS:
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
