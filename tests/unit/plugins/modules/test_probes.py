# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules mqtt_wait_for, firehose_verify and firehose_beacon, run as Ansible runs them: validation, and results without a broker."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.opendev.firehose.plugins.modules import firehose_beacon, firehose_verify, mqtt_wait_for


@pytest.fixture
def run(capsys, tmp_path):
    """Run a module and return its result."""

    def run_module(module: t.Any, **options: t.Any) -> dict[str, t.Any]:
        with patch_module_args({**options, "_ansible_remote_tmp": str(tmp_path)}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"listeners": [{"port": 1}, {"port": 0}]}, "listeners[1].port: 0 is not between 1 and 65535"),
        ({"listeners": [{"port": 65536}]}, "listeners[0].port: 65536"),
        ({"listeners": [{"port": 1, "host": " "}]}, "listeners[0].host is empty"),
        ({"listeners": [{"socket": "/s", "tls": True}]}, "listeners[0].tls makes no sense with a socket"),
        ({"listeners": [{"port": 1, "ca_file": "/ca"}]}, "listeners[0].ca_file needs tls=true"),
        ({"listeners": [{"port": 1}], "timeout": -1}, "timeout: -1"),
        ({"listeners": [{"port": 1}], "timeout": "inf"}, "timeout: inf"),
        ({"listeners": [{"port": 1}], "timeout": "nan"}, "timeout: nan"),
        ({"listeners": [{"port": 1}], "timeout": 1e10}, "timeout: 1e+10"),
    ],
)
def test_invalid_options_of_mqtt_wait_for(run, options, problem):
    result = run(mqtt_wait_for, **options)
    assert result["failed"]
    assert problem in result["msg"]


PUBLISHER = {"number": 0, "name": "zuul", "password": "hunter2", "topic": "zuul/x"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"run": "RUN"}, "run: 'RUN'"),
        ({"timeout": 1e10}, "timeout: 1e+10"),
        ({"topic": "a/#"}, "'a/#'"),
        ({"endpoint": {"port": 0}}, "endpoint.port: 0"),
        ({"name": "\udc80"}, "name: it is not valid UTF-8"),
        ({"password": "x" * 65536}, "password: it has more than 65535 bytes"),
        ({"watched": ["a", "\udc80"]}, "watched[1]: a topic filter cannot have"),
        ({"watched": ["x" * 65536]}, "watched[0]: a topic filter has at most 65535 bytes"),
        ({"publishers": [{**PUBLISHER, "name": "a\0"}]}, "publishers[0].name: it has a NUL"),
        (
            {"publishers": [PUBLISHER, {**PUBLISHER, "password": "\udc80"}]},
            "publishers[1].password: it is not valid UTF-8",
        ),
        ({"publishers": [{**PUBLISHER, "topic": ""}]}, "publishers[0].topic: a topic cannot be empty"),
        ({"claimed": ["zuul", "\udc80"]}, "claimed[1]: it is not valid UTF-8"),
    ],
)
def test_invalid_options_of_firehose_beacon(run, options, problem):
    given = {"run": "1f", "endpoint": {"port": 1}, "name": "beacon", "password": "hunter3", "topic": "t"}
    # Check mode starts nothing.
    assert problem in run(firehose_beacon, **{**given, **options, "_ansible_check_mode": True})["msg"]


def test_mqtt_wait_for_with_an_invalid_host(run):
    result = run(mqtt_wait_for, listeners=[{"host": "a..b", "port": 1}], timeout=0)
    assert "no name or address of a host" in result["msg"]
    assert (len(result["unanswered"]), result["closed"]) == (1, [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"host": ""}, "host is empty"),
        ({"listeners": [{"port": 70000}]}, "listeners[0].port: 70000 is not between 1 and 65535"),
        ({"timeout": 0}, "timeout: 0"),
        ({"time_limit": "inf"}, "time_limit: inf"),
        ({"feed_timeout": "nan"}, "feed_timeout: nan"),
        ({"feed": "a\0"}, "feed: it has a NUL"),
        ({"public_topics": ["#", "\udc80"]}, "public_topics[1]: it is not valid UTF-8"),
        ({"anonymous_topics": ["x" * 65536]}, "anonymous_topics[0]: it has more than 65535 bytes"),
        ({"publishers": [{"name": "x" * 65536}]}, "publishers[0].name: it has more than 65535 bytes"),
        ({"publishers": [{"name": "a", "topics": ["\udc80"]}]}, "publishers[0].topics[0]: it is not valid UTF-8"),
    ],
)
def test_invalid_options_of_firehose_verify(run, options, problem):
    result = run(firehose_verify, **{"host": "127.0.0.1", **options})
    assert result["failed"]
    assert problem in result["msg"]


def test_the_table_has_other_checks_and_skipped_listeners(run):
    result = run(
        firehose_verify,
        host="127.0.0.1",
        listeners=[{"port": 8883, "not_checked": "it wants TLS"}, {"port": 1883, "address": "192.0.2.1"}],
        other_checks=[{"check": "the broker runs", "result": "failed", "cause": "it does not"}],
    )
    assert result["table"] == [
        "failed       the broker runs: it does not",
        "not checked  port 8883 (mqtt) accepts anonymous clients: it wants TLS",
        "not checked  port 1883 (mqtt) accepts anonymous clients: it is bound to 192.0.2.1, which is no address of 127.0.0.1",
        "failed       there is a listener for anonymous clients: none that could be tried accepts anonymous clients",
    ]
    assert result["failures"] == [result["table"][0], result["table"][-1]]


@pytest.mark.parametrize("host", ["a..b", "127.0.0.1"])
def test_a_host_without_a_firehose_fails(run, host):
    result = run(firehose_verify, host=host, listeners=[{"port": 1}])
    assert [check["result"] for check in result["checks"]] == ["failed"] * 3
