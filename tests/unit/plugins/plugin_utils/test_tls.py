# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TLS options of a listener: validation, and the paths of its files."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _tls

DER = base64.b64encode(b"\x30" + bytes(60)).decode()


def pem(label: str, body: str = DER) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


PATHS = {"certificate": "/c.pem", "key": "/k.pem"}
TEXTS = {"certificate_pem": pem("CERTIFICATE") * 2, "key_pem": pem("PRIVATE KEY")}


@pytest.mark.parametrize(
    "tls",
    [
        None,
        PATHS,
        TEXTS,
        {**TEXTS, "certificate_pem": "subject=CN = x\n" + pem("CERTIFICATE").replace("\n", "\r\n")},
        {**TEXTS, "key_pem": pem("EC PARAMETERS", "BggqhkjOPQMBBw==") + pem("EC PRIVATE KEY")},
        {**TEXTS, "key_pem": pem("RSA PRIVATE KEY")},
        {**PATHS, "require_certificate": True, "ca": "/ca.pem", "minimum": "1.3", "ciphers": "ECDHE+AESGCM:!SHA1"},
        {**PATHS, "ciphers": "DEFAULT@SECLEVEL=3"},
    ],
)
def test_valid_options(tls):
    assert list(_tls.problems(tls, "listener.tls")) == []


@pytest.mark.parametrize(
    ("tls", "where", "why"),
    [
        ({}, "", "needs certificate and key, or certificate_pem and key_pem"),
        ({"certificate": "/c"}, "", "has certificate, and needs key too"),
        ({"key": "/k"}, "", "has key, and needs certificate too"),
        ({"key_pem": pem("PRIVATE KEY")}, "", "has key_pem, and needs certificate_pem too"),
        ({"certificate": "/c", "key_pem": pem("PRIVATE KEY")}, "", "has certificate and key_pem: either both"),
        ({**PATHS, **TEXTS}, "", "has certificate and certificate_pem: either both"),
        ({**PATHS, "certificate": "c.pem"}, ".certificate", "absolute"),
        ({**PATHS, "key": "MIG hunter2"}, ".key", "blanks"),
        ({**PATHS, "key": "/etc/"}, ".key", "absolute path of a file"),
        ({**PATHS, "require_certificate": True, "ca": "ca.pem"}, ".ca", "absolute"),
        ({**PATHS, "require_certificate": True}, ".require_certificate", "needs ca"),
        ({**PATHS, "ca": "/ca"}, ".ca", "only with require_certificate"),
        ({**PATHS, "ciphers": "A B"}, ".ciphers", "blanks"),
        ({**PATHS, "ciphers": ""}, ".ciphers", "empty"),
        ({**PATHS, "ciphers": "DEFAULT@SECLEVEL=0"}, ".ciphers", "TLS 1.2"),
        ({**TEXTS, "certificate_pem": "hunter2"}, ".certificate_pem", "not a certificate in PEM format"),
        ({**TEXTS, "certificate_pem": "/etc/ssl/hunter2.pem"}, ".certificate_pem", "not a certificate in PEM format"),
        ({**TEXTS, "certificate_pem": pem("CERTIFICATE", "hunter2!")}, ".certificate_pem", "is no certificate"),
        ({**TEXTS, "certificate_pem": pem("CERTIFICATE", "")}, ".certificate_pem", "is no certificate"),
        ({**TEXTS, "certificate_pem": pem("CERTIFICATE")[:-20]}, ".certificate_pem", "not a certificate in PEM format"),
        (
            {**TEXTS, "certificate_pem": pem("CERTIFICATE") + pem("CERTIFICATE")[:40]},
            ".certificate_pem",
            "not a certificate in PEM format",
        ),
        (
            {**TEXTS, "certificate_pem": pem("CERTIFICATE") + pem("PRIVATE KEY")},
            ".certificate_pem",
            "the key belongs into key_pem",
        ),
        ({**TEXTS, "key_pem": "hunter2"}, ".key_pem", "not a private key in PEM format"),
        ({**TEXTS, "key_pem": pem("CERTIFICATE")}, ".key_pem", "not a private key in PEM format"),
        ({**TEXTS, "key_pem": pem("OPENSSH PRIVATE KEY")}, ".key_pem", "not a private key in PEM format"),
        ({**TEXTS, "key_pem": pem("PRIVATE KEY", "hunter2!")}, ".key_pem", "not one private key"),
        ({**TEXTS, "key_pem": pem("PRIVATE KEY") * 2}, ".key_pem", "not one private key"),
        ({**TEXTS, "key_pem": pem("ENCRYPTED PRIVATE KEY")}, ".key_pem", "passphrase"),
        (
            {**TEXTS, "key_pem": pem("RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n{DER}")},
            ".key_pem",
            "passphrase",
        ),
    ],
)
def test_problems(tls, where, why):
    (problem,) = _tls.problems(tls, "listener.tls")
    assert problem.startswith(f"listener.tls{where}: ")
    assert why in problem
    assert "hunter2" not in problem


def test_each_listener_has_its_own_files_for_texts():
    plain, by_path = {"port": 1883}, {"port": 1, "tls": PATHS}
    listeners = [plain, by_path, {"port": 8883, "tls": TEXTS}, {"port": 8883, "bind_address": "::1", "tls": TEXTS}]
    found = _tls.with_paths(listeners, "/d")
    assert found[:2] == [plain, by_path]
    assert [listener["tls"] for listener in found[2:]] == [
        {**TEXTS, "certificate": "/d/8883/certificate.pem", "key": "/d/8883/key.pem"},
        {**TEXTS, "certificate": "/d/8883-::1/certificate.pem", "key": "/d/8883-::1/key.pem"},
    ]


def test_certificates_do_not_include_keys():
    listeners = [{"port": 1883}, {"port": 1, "tls": PATHS}, {"port": 8883, "bind_address": "::1", "tls": TEXTS}]
    assert _tls.certificates(listeners) == [
        {"port": 1, "bind_address": "", "certificate": PATHS["certificate"]},
        {"port": 8883, "bind_address": "::1", "certificate_pem": TEXTS["certificate_pem"]},
    ]


def test_pairs_include_all_listeners_with_tls():
    listeners = [{"port": 1883}, {"port": 1, "tls": {**PATHS, "ciphers": "HIGH"}}, {"port": 8883, "tls": TEXTS}]
    assert _tls.pairs(listeners) == [{"port": 1, **PATHS, "ciphers": "HIGH"}, {"port": 8883, **TEXTS}]
