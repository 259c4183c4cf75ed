# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that a broker must reject."""

from __future__ import annotations

from .change import Change, acl, listeners, tls, users

FOLDER, KEPT = "/etc/mosquitto", "/root/kept"
KEEP = f"rm -rf {KEPT} && cp -a {FOLDER} {KEPT}"
BRING_BACK = f"rm -rf {FOLDER}/acl {FOLDER}/passwd && cp -a {KEPT}/acl {KEPT}/passwd {FOLDER}"
APPLY = "mosquitto-apply"
RELOAD = "systemctl reload mosquitto || { journalctl --unit mosquitto --lines 5 --output cat; false; }"
# A full tmpfs with a copy of the directory. The running broker still uses the directory below it.
FILL = (
    f"mkdir -p /root/full && cp -a {FOLDER}/. /root/full && mount -t tmpfs -o size=1m,mode=0755 none {FOLDER} && cp -a /root/full/. {FOLDER}"
    f" && {{ dd if=/dev/zero of={FOLDER}/full bs=4k 2>/dev/null || :; }}"
)
EMPTY = f"umount {FOLDER} && rm -rf /root/full"


def _hand(name: str, file: str, line: str, cause: str, command: str = APPLY, *, short: bool = False) -> Change:
    """An administrator appends a line to a file, and applies it."""
    before = f"{KEEP} && printf '{line}' >>{FOLDER}/{file}"
    return Change(name, before=before, command=command, cause=cause, afterwards=BRING_BACK, short=short)


CONFIGURATIONS = [
    Change(
        "an option that does not exist",
        {"mosquitto_options": {"no_such_option": 1}},
        cause="Error: Unknown configuration variable .no_such_option",
        short=True,
    ),
    Change("a value that is none", {"mosquitto_options": {"set_tcp_nodelay": "perhaps"}}, cause="set_tcp_nodelay"),
    Change("a plugin that is not there", {"mosquitto_options": {"auth_plugin": "/srv/no.so"}}, cause="/srv/no.so"),
    Change(
        "an option of the role's", {"mosquitto_options": {"log_dest": "none"}}, cause="mosquitto_options.log_dest: "
    ),
    Change("a number out of range", {"mosquitto_max_keepalive": 5}, cause="mosquitto_max_keepalive: 5 is not"),
    Change(
        "a time that is none",
        {"mosquitto_persistent_client_expiration": "soon"},
        cause="mosquitto_persistent_client_expiration: ",
    ),
    Change(
        "a bridge with an option that does not exist",
        {
            "mosquitto_bridges": [
                {
                    "name": "b",
                    "addresses": ["192.0.2.1"],
                    "topics": [{"pattern": "a"}],
                    "options": {"no_such_option": 1},
                }
            ]
        },
        cause="no_such_option",
    ),
    Change(
        "a folder of more configuration",
        before=f"cp -a {FOLDER}/mosquitto.conf /root/kept.conf && echo include_dir /srv >>{FOLDER}/mosquitto.conf",
        command=APPLY,
        cause=r"mosquitto.conf, line \d+: include_dir",
        afterwards=f"cp -a /root/kept.conf {FOLDER}/mosquitto.conf",
    ),
]

RULES = [
    Change(
        "a rule that lets anonymous clients publish",
        acl(anonymous=[{"topic": "#", "access": "readwrite"}]),
        cause=r"mosquitto_acl.anonymous\[0\]",
        short=True,
    ),
    Change("a filter that is none", acl(anonymous=[{"topic": "a/#/b"}]), cause=r"mosquitto_acl.anonymous\[0\]"),
    _hand("a line that is no rule", "acl", "topics read #\\n", r"acl, line \d+: ", short=True),
    _hand("a reload with a line that is no rule", "acl", "topics read #\\n", r"acl, line \d+: ", RELOAD, short=True),
    _hand("rules that are no text", "acl", "\\377\\n", r"acl, line \d+: not UTF-8"),
    Change(
        "no rules",
        before=f"{KEEP} && rm {FOLDER}/acl",
        command=RELOAD,
        cause="acl cannot be read: No such file",
        afterwards=BRING_BACK,
    ),
    Change(
        "a folder instead of rules",
        before=f"{KEEP} && rm {FOLDER}/acl && mkdir {FOLDER}/acl",
        cause="acl is not a regular file",
        afterwards=BRING_BACK,
    ),
]

ACCOUNTS = [
    _hand("an account without a hash", "passwd", "zuul:secret\\n", r"passwd, line \d+: ", short=True),
    _hand("a reload with an account without a hash", "passwd", "zuul:secret\\n", r"passwd, line \d+: ", RELOAD),
    _hand("a line that is no account", "passwd", "zuul\\n", r"passwd, line \d+: "),
    Change("an account twice", users({"name": "feed", "password": "x"}), cause=r"mosquitto_users\[3\]"),
    Change(
        "a hash that is none", users({"name": "zuul", "password_hash": "$7$1"}), cause=r"mosquitto_users\[3\] \(zuul\)"
    ),
    Change(
        "a link instead of accounts",
        before=f"{KEEP} && mv {FOLDER}/passwd /srv/passwd && ln -s /srv/passwd {FOLDER}/passwd",
        cause="passwd is a symbolic link",
        afterwards=BRING_BACK,
    ),
]

CERTIFICATES = [
    Change(
        "a certificate that is not there",
        tls("/srv/tls/no.pem", "/srv/tls/server-key.pem"),
        cause=r"mosquitto_listeners: /srv/tls/no.pem .*\(port 8883\): /srv/tls/no.pem: No such file",
        short=True,
    ),
    Change(
        "another certificate's key",
        tls("/srv/tls/server.pem", "/srv/tls/renewed-key.pem"),
        cause="mosquitto_listeners: .*the key does not belong to the first certificate",
        short=True,
    ),
    Change(
        "an expired certificate",
        tls("/srv/tls/expired.pem", "/srv/tls/expired-key.pem"),
        cause="mosquitto_listeners: /srv/tls/expired.pem .*has expired; renew it",
        short=True,
    ),
    Change(
        "ciphers that OpenSSL does not know",
        tls("/srv/tls/server.pem", "/srv/tls/server-key.pem", ciphers="nonsense"),
        cause=r"mosquitto_listeners: ciphers 'nonsense' \(port 8883\)",
        short=True,
    ),
    Change("a certificate that is none", tls("/etc/hostname", "/srv/tls/server-key.pem"), cause="cannot read the cert"),
    Change(
        "a renewed certificate without its key",
        before="cp -a /srv/tls/server.pem /root/kept.pem && cp /srv/tls/renewed.pem /srv/tls/server.pem",
        command=APPLY,
        cause="key",
        afterwards="cp -a /root/kept.pem /srv/tls/server.pem",
    ),
    Change(
        "a key that asks for a passphrase",
        tls("/srv/tls/server.pem", "/srv/tls/locked.pem"),
        before="openssl ec -in /srv/tls/server-key.pem -aes128 -passout pass:only-for-tests -out /srv/tls/locked.pem 2>/dev/null",
        cause="the key has a passphrase",
    ),
]

LISTENERS = [
    Change(
        "a port that another program has",
        listeners({"port": 8888}),
        before="systemd-run --quiet --unit occupant python3 -m http.server 8888 && while ! ss -Hltn | grep -q :8888; do sleep 0.1; done",
        cause=r"port 8888 \(mqtt\): Address already in use",
        afterwards="systemctl stop occupant",
        short=True,
    ),
    Change(
        "an address that the host does not have",
        listeners({"port": 8889, "bind_address": "192.0.2.77"}),
        cause="port 8889 of 192.0.2.77 .*Cannot assign requested address",
    ),
    Change("a port twice", listeners({"port": 1883}), cause=r"mosquitto_listeners\[5\]"),
    Change("a port that is none", listeners({"port": 70000}), cause="port 70000"),
    Change("a socket in a folder that is not there", listeners({"socket": "/srv/no/broker.sock"}), cause="/srv/no"),
]

PERMISSIONS = [
    Change(
        "a folder that nobody can write",
        users({"name": "zuul", "password": "only-for-tests"}),
        before=f"mount --bind {FOLDER} {FOLDER} && mount -o remount,bind,ro {FOLDER}",
        cause="Read-only file system",
        afterwards=f"umount {FOLDER}",
    ),
    Change(
        "a socket where the broker cannot write",
        listeners({"socket": "/srv/closed/broker.sock"}),
        before="mkdir -p /srv/closed && chmod 0755 /srv/closed",
        cause="/srv/closed",
    ),
]

DISK = [
    Change(
        "a full disk",
        users({"name": "zuul", "password": "only-for-tests"}),
        before=FILL,
        cause="No space left",
        afterwards=EMPTY,
        short=True,
    ),
]

BAD = [*CONFIGURATIONS, *RULES, *ACCOUNTS, *CERTIFICATES, *LISTENERS, *PERMISSIONS, *DISK]
