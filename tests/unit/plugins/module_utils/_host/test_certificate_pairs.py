# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate and its key are tried as a server would use them and as clients would see them."""

from __future__ import annotations

import datetime
import time

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime.now(datetime.timezone.utc)


def day(number):
    return NOW + datetime.timedelta(days=number)


def signed(name, issuer=None, begin=-10, end=30):
    """A key and a certificate, signed by another such pair or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    by_key, by_name = (issuer[0], issuer[1].subject) if issuer else (key, own)
    builder = x509.CertificateBuilder().subject_name(own).issuer_name(by_name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(day(begin)).not_valid_after(day(end))
    builder = builder.add_extension(x509.BasicConstraints(ca=name.startswith("ca"), path_length=None), critical=True)
    return key, builder.sign(by_key, hashes.SHA256())


ROOT = signed("ca root")
MIDDLE = signed("ca middle", ROOT)
STRANGER = signed("ca stranger")
LEAF = signed("leaf", MIDDLE)


@pytest.fixture
def check(tmp_path):
    def run(key, *pairs, passphrase=None):
        encoding = serialization.Encoding.PEM
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        (tmp_path / "key").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption))
        (tmp_path / "cert").write_bytes(b"".join(pair[1].public_bytes(encoding) for pair in pairs))
        return certificate_files.check_pair(str(tmp_path / "cert"), str(tmp_path / "key"), time.time())

    return run


@pytest.mark.parametrize("chain", [(LEAF,), (LEAF, MIDDLE), (LEAF, MIDDLE, ROOT), (signed("self"),)])
def test_a_valid_pair(check, chain):
    assert check(chain[0][0], *chain)["days_left"] in (29, 30)


@pytest.mark.parametrize(
    ("key", "chain", "problem"),
    [
        (MIDDLE[0], (LEAF,), "the key does not belong"),
        (LEAF[0], (MIDDLE, LEAF), "the key does not belong"),
        (LEAF[0], (LEAF, STRANGER), "not one chain"),
        (LEAF[0], (LEAF, ROOT), "not one chain"),
        *((pair[0], (pair, MIDDLE), "has expired") for pair in [signed("old", MIDDLE, end=-1)]),
        *((pair[0], (pair, MIDDLE), "not valid yet") for pair in [signed("new", MIDDLE, begin=1)]),
    ],
)
def test_an_invalid_pair(check, key, chain, problem):
    with pytest.raises(certificate_files.Unusable, match=problem):
        check(key, *chain)


def test_passphrase(check):
    with pytest.raises(certificate_files.Unusable, match="passphrase"):
        check(LEAF[0], LEAF, passphrase=b"secret")


def test_missing_file(check, tmp_path):
    check(LEAF[0], LEAF)
    with pytest.raises(FileNotFoundError):
        certificate_files.check_pair(str(tmp_path / "cert"), str(tmp_path / "none"), time.time())


@pytest.mark.parametrize(
    ("ciphers", "known"), [("ECDHE+AESGCM:nonsense", True), ("DEFAULT@SECLEVEL=3", True), ("nonsense", False)]
)
def test_ciphers(ciphers, known):
    assert certificate_files.known_ciphers(ciphers) is known
