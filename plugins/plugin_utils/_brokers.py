# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""The broker instances of a host: their paths, and the files that the role mosquitto writes there."""

from __future__ import annotations

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto, _tls

Broker = t.Mapping[str, t.Any]
ROOT = {"owner": "root", "group": "root"}


def place(name: str) -> dict[str, str]:
    """The user, unit and directories of an instance. The one without a name is that of Debian's package."""
    full_name = f"mosquitto-{name}" if name else "mosquitto"
    return {
        "full_name": full_name,
        "user": full_name,
        # In place of the package's own unit, which can open no port below 1024 and has no sandbox.
        "unit": f"/etc/systemd/system/mosquitto{f'@{name}' if name else ''}.service",
        # Its timer and service watch the broker's stored data.
        "store_unit": f"mosquitto-store{f'@{name}' if name else ''}",
        "directory": f"/etc/{full_name}",
        "acl_file": f"/etc/{full_name}/acl",
        "password_file": f"/etc/{full_name}/passwd",
        "state_directory": f"/var/lib/{full_name}",
        "runtime_directory": f"/run/{full_name}",
    }


def placed(broker: Broker) -> dict[str, t.Any]:
    """A broker with its own paths, and with the paths of certificates and keys that are texts."""
    here = place(broker["name"])
    return {**broker, **here, "listeners": _tls.with_paths(broker["listeners"], f"{here['directory']}/tls")}


def _files(broker: Broker, secret: bool) -> t.Iterator[dict[str, t.Any]]:
    variables = {"broker": broker}
    yield {"path": broker["unit"], "template": "mosquitto.service.j2", "vars": variables, "mode": "0644", **ROOT}
    if broker["persistence"]:
        for kind in ("service", "timer"):
            path = f"/etc/systemd/system/{broker['store_unit']}.{kind}"
            yield {"path": path, "template": f"store.{kind}.j2", "vars": variables, "mode": "0644", **ROOT}
    yield {
        "path": f"{broker['directory']}/mosquitto.conf",
        "template": "mosquitto.conf.j2",
        "vars": variables,
        "owner": "root",
        "group": broker["user"],
        "mode": "0640",
        "secret": secret,
    }
    if not broker["accounts"]:
        # The earlier content is secret.
        yield {"path": broker["password_file"], "content": "", "mode": "0600", "secret": True, **ROOT}


def _directories(broker: Broker) -> list[dict[str, t.Any]]:
    # The unit gives the state directory of a named instance to its user.
    owner = {} if broker["name"] else {"owner": broker["user"], "group": broker["user"]}
    return [
        {"path": broker["directory"], "mode": "0755", **ROOT},
        {"path": broker["state_directory"], "mode": "0755", **owner},
    ]


def wanted(brokers: t.Iterable[Broker]) -> dict[str, t.Any]:
    """The options of the module text_files for all brokers. Accounts and ACL rules are left out: other roles may add to them."""
    found: dict[str, t.Any] = {"directories": [], "files": [], "has_secrets": False, "tls_pairs": []}
    for broker in map(placed, brokers):
        tls = _tls.files(broker["listeners"])
        secret = _mosquitto.has_secrets(broker)
        found["directories"] += _directories(broker) + tls["directories"]
        found["tls_pairs"] += _tls.pairs(broker["listeners"])
        found["files"] += [*_files(broker, secret), *tls["files"]]
        found["has_secrets"] |= secret or bool(tls["files"])
    return found
