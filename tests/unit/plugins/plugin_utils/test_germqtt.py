# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that the role germqtt rejects."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _germqtt

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH+wAziyEEHEjv3EeDzpXIZk+v06Fz8uPzWTesYhL09l"
# The structure of a PKCS #8 key: an empty sequence.
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
FINE = {
    "germqtt_gerrit_host": "review.example.org",
    "germqtt_gerrit_port": 29418,
    "germqtt_gerrit_user": "germqtt",
    "germqtt_gerrit_host_keys": [HOST_KEY, f"{HOST_KEY} root@review"],
    "germqtt_ssh_private_key": PRIVATE_KEY,
    "germqtt_mqtt_host": "::1",
    "germqtt_mqtt_username": "germqtt",
    "germqtt_mqtt_password": "50 % off",
    "germqtt_topic": "gerrit",
}


@pytest.fixture
def problems(roles):
    role = roles["germqtt"]

    def find(**changed):
        return _germqtt.problems({**role.defaults, **FINE, **changed}, role.options)

    return find


def test_valid_variables(problems):
    assert problems() == []


def test_a_broker_with_anonymous_publishing(problems):
    assert problems(germqtt_mqtt_username="", germqtt_mqtt_password="") == []


def test_a_number_as_a_password(problems):
    assert problems(germqtt_mqtt_password=0) == []


def test_tls_on_another_port(problems):
    tls = {"germqtt_mqtt_tls": True, "germqtt_mqtt_port": 8883, "germqtt_mqtt_ca_file": "/etc/ssl/certs/ca.pem"}
    assert problems(**tls) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"germqtt_mqtt_port": 70000}, "germqtt_mqtt_port"),
        ({"germqtt_source": "pypi", "germqtt_mqtt_port": 8883}, "germqtt_mqtt_port"),
        ({"germqtt_source": "pypi", "germqtt_mqtt_tls": True}, "germqtt_mqtt_tls"),
        ({"germqtt_mqtt_tls": True, "germqtt_mqtt_ca_file": "ca.pem"}, "germqtt_mqtt_ca_file"),
        ({"germqtt_mqtt_ca_file": "/etc/ssl/ca.pem"}, "germqtt_mqtt_ca_file"),
        ({"germqtt_mqtt_tls": "yes"}, "germqtt_mqtt_tls"),
        ({"germqtt_source": "pypi", "germqtt_project_topics": True}, "germqtt_project_topics"),
        ({"germqtt_max_payload": -1}, "germqtt_max_payload"),
        ({"germqtt_max_payload": 268435456}, "germqtt_max_payload"),
        ({"germqtt_republish_max": -1}, "germqtt_republish_max"),
        ({"germqtt_republish_max": 100001}, "germqtt_republish_max"),
        ({"germqtt_republish_max": "many"}, "germqtt_republish_max"),
        ({"germqtt_store_max_mib": 0}, "germqtt_store_max_mib"),
        ({"germqtt_store_max_days": 0}, "germqtt_store_max_days"),
        ({"germqtt_connect_timeout": -1}, "germqtt_connect_timeout"),
        ({"germqtt_gerrit_host": "a b"}, "germqtt_gerrit_host"),
        ({"germqtt_gerrit_host": ""}, "germqtt_gerrit_host"),
        ({"germqtt_mqtt_host": "x\ny"}, "germqtt_mqtt_host"),
        ({"germqtt_gerrit_port": 0}, "germqtt_gerrit_port"),
        ({"germqtt_gerrit_user": "a\nkey = /x"}, "germqtt_gerrit_user"),
        ({"germqtt_mqtt_password": " p"}, "germqtt_mqtt_password"),
        ({"germqtt_mqtt_password": ""}, "germqtt_mqtt_username, germqtt_mqtt_password"),
        ({"germqtt_topic": "gerrit/#"}, "germqtt_topic"),
        ({"germqtt_topic": ""}, "germqtt_topic"),
        ({"germqtt_topic": "$SYS"}, "germqtt_topic"),
        ({"germqtt_gerrit_port": "29418"}, "germqtt_gerrit_port"),
        ({"germqtt_gerrit_host_keys": HOST_KEY}, "germqtt_gerrit_host_keys"),
        ({"germqtt_gerrit_host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"]}, "germqtt_gerrit_host_keys[0]"),
        ({"germqtt_gerrit_host_keys": []}, "germqtt_gerrit_host_keys"),
        ({"germqtt_gerrit_host_keys": [HOST_KEY, f"review.example.org {HOST_KEY}"]}, "germqtt_gerrit_host_keys[1]"),
        ({"germqtt_gerrit_host_keys": ["ssh-ed25519 AAAA"]}, "germqtt_gerrit_host_keys[0]"),
        ({"germqtt_gerrit_host_keys": ["ssh-ed25519 !!"]}, "germqtt_gerrit_host_keys[0]"),
        ({"germqtt_ssh_private_key": HOST_KEY}, "germqtt_ssh_private_key"),
        ({"germqtt_ssh_private_key": ""}, "germqtt_ssh_private_key"),
        (
            {
                "germqtt_ssh_private_key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"
            },
            "germqtt_ssh_private_key",
        ),
    ],
)
def test_problems(problems, change, where):
    (problem,) = problems(**change)
    assert problem.startswith(f"{where}: ")
    assert "50 % off" not in problem
