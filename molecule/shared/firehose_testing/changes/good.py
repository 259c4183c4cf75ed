# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that a broker must accept, and the action of each."""

from __future__ import annotations

from .change import NOTHING, RELOAD, RESTART, Change, acl, listeners, users

KEEP = "cp -a /srv/tls/server.pem /srv/tls/server-key.pem /root"
RENEW = "cp /srv/tls/renewed.pem /srv/tls/server.pem && cp /srv/tls/renewed-key.pem /srv/tls/server-key.pem"

GOOD = [
    Change("another account", users({"name": "zuul", "password": "only-for-tests"}), action=RELOAD, short=True),
    Change("another password", users({"name": "other", "password": "changed"}, without="other"), action=RELOAD),
    Change("an account less", users({"name": "other", "state": "absent"}, without="other"), action=RELOAD),
    Change(
        "a topic that is closed",
        acl(anonymous=[{"topic": "#"}, {"topic": "secret/#", "access": "deny"}]),
        action=RELOAD,
    ),
    Change("other iterations", {"mosquitto_hash_iterations": 500}, action=NOTHING),
    Change("hashes made anew", {"mosquitto_hash_iterations": 500, "mosquitto_rehash": True}, action=RELOAD),
    Change("a shorter log", {"mosquitto_log_types": ["error"]}, action=RELOAD),
    Change("no word of connections", {"mosquitto_connection_messages": False}, action=RELOAD),
    Change("another interval of $SYS", {"mosquitto_sys_interval": 5}, action=RELOAD),
    Change("sessions that end sooner", {"mosquitto_persistent_client_expiration": "2h"}, action=RELOAD),
    Change(
        "a renewed certificate",
        before=f"{KEEP} && {RENEW}",
        command="mosquitto-apply",
        action=RELOAD,
        afterwards="cp -a /root/server.pem /root/server-key.pem /srv/tls && mosquitto-apply",
        short=True,
    ),
    Change("a reload that nobody needs", command="systemctl reload mosquitto", action=RELOAD),
    Change("another listener", listeners({"port": 8888}), action=RESTART, short=True),
    Change("a longer queue", {"mosquitto_max_queued_messages": 2000}, action=RESTART),
]
