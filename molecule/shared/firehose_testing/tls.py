# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS versions of a server, tried by a client that supports all of them."""

from __future__ import annotations

import socket
import ssl
import warnings

VERSIONS = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def allow(context: ssl.SSLContext, *versions: str) -> ssl.SSLContext:
    """Make a context support these versions, and no others."""
    # Otherwise OpenSSL itself rejects 1.1, independent of the other side.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(VERSIONS[version] for version in versions)
        context.maximum_version = max(VERSIONS[version] for version in versions)
    return context


def spoken(address: str, port: int) -> tuple[set[str], set[bytes]]:
    """The versions with a complete handshake, and the certificates (DER) of these handshakes."""
    versions, shown = set(), set()
    for version in VERSIONS:
        context = allow(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection((address, port), timeout=10) as connection,
                context.wrap_socket(connection) as encrypted,
            ):
                versions.add(version)
                shown.add(encrypted.getpeercert(binary_form=True) or b"")
        except (ssl.SSLError, ConnectionResetError):
            continue
    return versions, shown
