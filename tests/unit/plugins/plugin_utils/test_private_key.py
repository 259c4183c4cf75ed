# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys of ssh-keygen and openssl, and errors that occur when they are copied to a variable."""

from __future__ import annotations

import base64
import functools
import pathlib
import subprocess

import pytest
from ansible_collections.opendev.firehose.plugins.plugin_utils import _private_key

KINDS = {
    "ed25519": ["-t", "ed25519"],
    "rsa": ["-t", "rsa", "-b", "2048"],
    "ecdsa": ["-t", "ecdsa"],
    "rsa_pem": ["-t", "rsa", "-b", "2048", "-m", "PEM"],
    "ecdsa_pem": ["-t", "ecdsa", "-m", "PEM"],
    "rsa_pkcs8": ["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
}


@pytest.fixture(scope="session")
def make(tmp_path_factory):
    """Make a key of a kind, with or without a passphrase; return its text."""

    @functools.cache
    def make_key(kind: str, passphrase: str = "") -> str:
        path = tmp_path_factory.mktemp("key") / "key"
        subprocess.run(["ssh-keygen", "-q", *KINDS[kind], "-N", passphrase, "-f", str(path)], check=True)
        return path.read_text()

    return make_key


def openssh_reads(text: str, path: pathlib.Path) -> bool:
    path.write_text(text)
    path.chmod(0o600)
    reading = ["ssh-keygen", "-y", "-P", "", "-f", str(path)]
    return subprocess.run(reading, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_without_a_passphrase_is_valid(make, kind):
    key = make(kind)
    assert _private_key.problem(key) is None
    assert _private_key.problem(f"\n{key.strip()}") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_with_a_passphrase_is_named_as_such(make, kind):
    assert _private_key.problem(make(kind, "hunter2")) == _private_key.PASSPHRASE


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_cut_off_is_named_as_such(make, kind):
    """At the end, in the middle, or only one character."""
    first, *lines, last = make(kind).splitlines()
    body = "".join(lines)
    for shorter in (
        lines[:-1],
        lines[1:],
        [*lines[:2], *lines[3:]],
        [body[:-4]],
        [body[:-1]],
        [body[4:]],
        ["AAAA"],
        [],
    ):
        assert _private_key.problem("\n".join([first, *shorter, last])) == _private_key.CUT_OFF
    for text in ("\n".join([first, *lines]), first, "\n".join([first, *lines, last[:-1]])):
        assert _private_key.problem(text) in (_private_key.CUT_OFF, _private_key.NO_KEY)


@pytest.mark.parametrize("kind", ["ed25519", "rsa_pem"])
def test_keys_that_openssh_can_read_are_valid(make, kind, tmp_path):
    """Each byte of the key's header is changed in turn. No key is rejected that OpenSSH can read."""
    first, *lines, last = make(kind).splitlines()
    data = base64.b64decode("".join(lines))
    for place in range(0, 60, 3):
        changed = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        text = "\n".join([first, base64.b64encode(changed).decode(), last, ""])
        assert not openssh_reads(text, tmp_path / "key") or _private_key.problem(text) is None, place


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", _private_key.NO_KEY),
        ("ssh-ed25519 AAAA", _private_key.NO_KEY),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", _private_key.NO_KEY),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", _private_key.NO_KEY),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none", _private_key.PUTTY),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n\u00e9\n-----END OPENSSH PRIVATE KEY-----", _private_key.CUT_OFF),
    ],
)
def test_texts_that_are_not_a_key(text, problem):
    assert _private_key.problem(text) == problem
