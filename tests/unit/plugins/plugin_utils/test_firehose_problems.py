# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that the role firehose rejects."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose, _firehose_problems, _firehose_public

HASH = "$7$101$9YVKVxJaCwEGBL4X$" + "A" * 86 + "=="
GERMQTT = {"name": "germqtt", "password": "p", "topics": ["gerrit/#"]}
FINE = {
    "firehose_publishers": [GERMQTT, {"name": "zuul", "password_hash": HASH, "topics": ["zuul/#", "jobs/+"]}],
    "firehose_readers": [{"name": "monitor", "password": "p", "sys": ["broker/clients/connected"]}],
    "firehose_public_topics": ["#"],
    "firehose_listeners": [{"port": 1883}, {"port": 80, "protocol": "websockets"}],
    "firehose_account_listeners": [{"port": 1884, "bind_address": "127.0.0.1"}],
    "firehose_germqtt": True,
    "firehose_germqtt_publisher": "germqtt",
    "germqtt_topic": "gerrit",
}


TLS = {"certificate": "/c", "key": "/k"}
TEXTS = {
    "certificate_pem": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    "key_pem": "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
}


@pytest.fixture
def problems(roles):
    role, public = roles["firehose"], roles["firehose_public"]
    public_options = public.specs["validate"]["options"]

    def find(**changed):
        """The problems of variables: first those for anonymous clients, and then the others."""
        variables = {**public.defaults, **role.defaults, **FINE, **changed}
        of_others = {"firehose_listeners", "firehose_tls", "germqtt_source", "germqtt_topic"}
        first = _firehose_public.problems(
            {key: variables[key] for key in public_options if key in variables}, public_options
        )
        own = {key: value for key, value in variables.items() if key in role.options or key in of_others}
        return first or _firehose_problems.problems(own, role.options)

    return find


def test_valid_variables(problems):
    assert problems() == []


@pytest.mark.parametrize(
    "change",
    [
        {"firehose_publishers": [], "firehose_germqtt": False},
        {"firehose_listeners": [{"port": 2883}]},
        {"firehose_account_listeners": [{"socket": "/run/mosquitto/socket"}, {"port": 2884}]},
        {"firehose_account_listeners": []},
        {
            "germqtt_source": "pypi",
            "firehose_listeners": [{"port": 1883, "bind_address": "192.0.2.1"}],
            "firehose_account_listeners": [{"port": 1884}, {"port": 1883, "bind_address": "127.0.0.1"}],
        },
        {"firehose_tls": TLS, "firehose_account_listeners": _firehose.listeners(TLS, accounts=True)},
        {"firehose_public_sys": ["broker/clients/connected"]},
        {"firehose_readers": [{"name": "firehose-verify-1f", "state": "absent"}]},
        {"firehose_publishers": [{**GERMQTT, "topics": ["+/#"]}]},
        {"firehose_tls": TLS, "firehose_listeners": _firehose.listeners(TLS, True)},
        {"firehose_tls": TEXTS, "firehose_listeners": _firehose.listeners(TEXTS, True)},
        {"firehose_tls": TLS, "firehose_listeners": _firehose.listeners(TLS, False), "firehose_plain": False},
        {"firehose_publishers": [{**GERMQTT, "name": 1}], "firehose_germqtt_publisher": "1"},
    ],
)
def test_other_valid_variables(problems, change):
    assert problems(**change) == []


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        ({"firehose_publishers": []}, "firehose_publishers", "germqtt needs an account"),
        ({"firehose_publishers": [{**GERMQTT, "state": "absent"}]}, "firehose_publishers", "germqtt needs an account"),
        (
            {"firehose_publishers": [{"name": "germqtt", "password_hash": HASH, "topics": ["gerrit/#"]}]},
            "firehose_publishers[0] (germqtt)",
            "a password_hash is not enough",
        ),
        ({"firehose_publishers": [{**GERMQTT, "topics": ["git/#"]}]}, "firehose_publishers[0] (germqtt)", "'gerrit/#'"),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p"}]},
            "firehose_publishers[1] (a)",
            "needs topics",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "topics": ["a"]}]},
            "firehose_publishers[1] (a)",
            "needs one of password",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p", "topics": ["a/#/b"]}]},
            "firehose_publishers[1].topics[0]",
            "'#' must be",
        ),
        (
            {"firehose_publishers": [GERMQTT, {"name": "a", "password": "p", "topics": ["$SYS/#"]}]},
            "firehose_publishers[1].topics[0]",
            "belong to the broker",
        ),
        ({"firehose_publishers": [GERMQTT, GERMQTT]}, "firehose_publishers[1] (germqtt)", "same name"),
        ({"firehose_readers": [{"name": "germqtt", "password": "p"}]}, "firehose_readers[0] (germqtt)", "same name"),
        ({"firehose_readers": [{"name": "a:b", "password": "p"}]}, "firehose_readers[0] (a:b)", "':'"),
        (
            {"firehose_readers": [{"name": "a", "password": "p", "sys": ["$SYS/x"]}]},
            "firehose_readers[0].sys[0]",
            "after",
        ),
        ({"firehose_readers": [{"name": "a", "password": "p", "sys": ["x#"]}]}, "firehose_readers[0].sys[0]", "'#'"),
        ({"firehose_publishers": [{**GERMQTT, "topics": "gerrit/#"}]}, "firehose_publishers[0].topics", "a list"),
        ({"firehose_readers": [{"name": "a", "password": "p", "sys": "#"}]}, "firehose_readers[0].sys", "a list"),
        ({"firehose_public_topics": "gerrit/#"}, "firehose_public_topics", "a list"),
        ({"firehose_germqtt": "no"}, "firehose_germqtt", "boolean"),
        ({"firehose_account_listeners": [{"port": 1883}]}, "firehose_account_listeners[0]", "firehose_listeners[0]"),
        ({"germqtt_source": "pypi"}, "firehose_account_listeners", "port 1883"),
        (
            {"firehose_account_listeners": [{"port": 1884, "max_qos": 1}]},
            "firehose_account_listeners[0].max_qos",
            "remove it",
        ),
        (
            {"firehose_account_listeners": [{"port": 1884, "bind_address": "localhost"}]},
            "firehose_account_listeners[0].bind_address",
            "no IP address",
        ),
        ({"firehose_account_listeners": [{"port": 800}]}, "firehose_account_listeners[0].port", "600 to 802"),
        ({"firehose_account_messages": -1}, "firehose_account_messages", "-1 is not between 0"),
        (
            {"firehose_publishers": [{**GERMQTT, "bytes": -1}]},
            "firehose_publishers[0].bytes",
            "-1 is not between 0",
        ),
        (
            {
                "germqtt_source": "pypi",
                "firehose_listeners": [{"port": 80}],
                "firehose_account_listeners": [{"port": 1883, "tls": TLS}],
            },
            "firehose_account_listeners",
            "without TLS",
        ),
        ({"firehose_internal_port": 1024}, "firehose_internal_port", "not between 1 and 1023"),
        ({"firehose_internal_port": 80}, "firehose_internal_port", "firehose_listeners[1] listens on port 80 already"),
        (
            {"firehose_account_listeners": [{"port": 1884}, {"port": 884}]},
            "firehose_internal_port",
            "firehose_account_listeners[1] listens on port 884 already",
        ),
        ({"firehose_public_sys": ["$SYS/broker"]}, "firehose_public_sys[0]", "after"),
        ({"firehose_readers": [{"name": "firehose-relay", "password": "p"}]}, "firehose_readers[0]", "public broker"),
        (
            {"firehose_readers": [{"name": "firehose-verify-1f", "password": "p"}]},
            "firehose_readers[0] (firehose-verify-1f)",
            "'firehose-verify'",
        ),
        ({"firehose_public_topics": ["$SYS/#"]}, "firehose_public_topics[0]", "belong to the broker"),
        ({"firehose_plain": False}, "firehose_plain", "without firehose_tls"),
        ({"firehose_tls": TLS}, "firehose_tls", "neither firehose_listeners nor"),
        (
            {"firehose_tls": {"key": "/k"}, "firehose_listeners": _firehose.listeners({"key": "/k"}, True)},
            "firehose_tls",
            "needs certificate too",
        ),
        ({"firehose_tls": "/c"}, "firehose_tls", "a dictionary"),
        ({"firehose_source_connections": 0}, "firehose_source_connections", "between 1"),
        ({"firehose_source_kilobytes": 2**23}, "firehose_source_kilobytes", "between 1"),
        ({"firehose_max_keepalive": 0}, "firehose_max_keepalive", "between 10 and 65535"),
        ({"firehose_max_payload": 268435455}, "firehose_max_payload", "between 1 and 268304351"),
    ],
)
def test_problems(problems, change, where, why):
    (problem,) = problems(**change)
    assert problem.startswith(f"{where}: ")
    assert why in problem


@pytest.mark.parametrize(
    ("publisher", "problem"),
    [
        ({"name": "zuul", "password": "p", "topics": ["zuul/#"]}, None),
        ({"name": "zuul", "state": "absent"}, None),
        ({"name": "zuul", "password": "p"}, "firehose_publisher (zuul): needs topics"),
        ({"name": "zuul", "topics": ["zuul/#"]}, "firehose_publisher (zuul): needs one of password"),
        ({"name": "zuul", "password": "p", "topics": ["zuul/#/x"]}, "firehose_publisher.topics[0]: 'zuul/#/x'"),
        ({"name": "zuul", "password": "p", "topics": ["$SYS/#"]}, "firehose_publisher.topics[0]: '$SYS/#'"),
        ({"name": "zuul", "password": "p", "topics": "zuul/#"}, "firehose_publisher.topics: has to be a list"),
        ({"name": "firehose-verify-1f", "state": "absent"}, None),
        (
            {"name": "firehose-verify-1f", "password": "p", "topics": ["firehose/verify/#"]},
            "firehose_publisher (firehose-verify-1f): names with 'firehose-verify'",
        ),
        ({"name": "zu\nul", "password": "p", "topics": ["a"]}, "firehose_publisher.name: has a line break"),
    ],
)
def test_one_publisher(roles, publisher, problem):
    options = roles["firehose"].specs["publisher"]["options"]
    found = _firehose_problems.publisher_problems({"firehose_publisher": publisher}, options)
    assert len(found) == (1 if problem else 0)
    assert all(line.startswith(problem) for line in found)
