# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.opendev.firehose.plugins.plugin_utils import _brokers

CORE = {"name": "", "accounts": True, "persistence": True, "listeners": [{"port": 1883}], "options": {}, "bridges": []}
PUBLIC = {
    **CORE,
    "name": "public",
    "accounts": False,
    "persistence": False,
    "bridges": [{"password": "only-for-tests"}],
}
TLS = {"port": 8883, "tls": {"certificate_pem": "CERTIFICATE", "key_pem": "KEY"}}


def paths(entries):
    return [entry["path"] for entry in entries]


def test_the_files_of_all_brokers_in_one_list():
    found = _brokers.wanted([CORE, PUBLIC])
    assert paths(found["files"]) == [
        "/etc/systemd/system/mosquitto.service",
        "/etc/systemd/system/mosquitto-store.service",
        "/etc/systemd/system/mosquitto-store.timer",
        "/etc/mosquitto/mosquitto.conf",
        "/etc/systemd/system/mosquitto@public.service",
        "/etc/mosquitto-public/mosquitto.conf",
        "/etc/mosquitto-public/passwd",
    ]
    assert paths(found["directories"]) == [
        "/etc/mosquitto",
        "/var/lib/mosquitto",
        "/etc/mosquitto-public",
        "/var/lib/mosquitto-public",
    ]


def test_each_broker_reads_its_own_configuration_alone():
    files = {file["path"]: file for file in _brokers.wanted([CORE, PUBLIC])["files"]}
    assert files["/etc/mosquitto/mosquitto.conf"]["group"] == "mosquitto"
    assert files["/etc/mosquitto-public/mosquitto.conf"]["group"] == "mosquitto-public"


def test_only_files_with_passwords_are_secret():
    found = _brokers.wanted([CORE, PUBLIC])
    assert [file["path"] for file in found["files"] if file.get("secret")] == [
        "/etc/mosquitto-public/mosquitto.conf",
        "/etc/mosquitto-public/passwd",
    ]
    assert found["has_secrets"]
    assert not _brokers.wanted([CORE])["has_secrets"]


def test_certificates_that_are_texts_are_files_of_their_broker():
    found = _brokers.wanted([CORE, {**PUBLIC, "bridges": [], "listeners": [TLS]}])
    own = [file for file in found["files"] if "/tls/" in file["path"]]
    assert paths(own) == [f"/etc/mosquitto-public/tls/8883/{name}.pem" for name in ("certificate", "key")]
    assert found["has_secrets"]
    [template] = [file for file in found["files"] if file["path"] == "/etc/mosquitto-public/mosquitto.conf"]
    [listener] = template["vars"]["broker"]["listeners"]
    assert listener["tls"]["key"] == "/etc/mosquitto-public/tls/8883/key.pem"
    # The texts are validated.
    assert found["tls_pairs"] == [{"port": 8883, **TLS["tls"]}]
