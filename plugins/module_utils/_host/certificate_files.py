# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check whether a broker can serve TLS with a certificate and its key, and how long the certificate lasts."""

from __future__ import annotations

import contextlib
import datetime
import math
import pathlib
import ssl
import typing as t

DAY = 86400
BLOCK_END = "-----END CERTIFICATE-----"
# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
NOT_YET_VALID, EXPIRED = 9, 10
# X509_V_FLAG_PARTIAL_CHAIN, for which the ssl module has a name from Python 3.10 on
PARTIAL_CHAIN = ssl.VerifyFlags(0x80000)


class Unusable(Exception):
    """A problem of a certificate or its key, with the remedy."""


def _name(parts: t.Iterable[t.Iterable[tuple[str, str]]]) -> str:
    """A subject or an issuer in one line."""
    return ", ".join(f"{key}={value}" for part in parts for key, value in part)


def describe(certificate: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """The modules' return value for a certificate, given the time in seconds since 1970."""
    end = ssl.cert_time_to_seconds(certificate["notAfter"])
    return {
        "not_after": datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": math.floor((end - now) / DAY),
        "subject": _name(certificate.get("subject", ())),
        "issuer": _name(certificate.get("issuer", ())),
    }


def lasts(described: t.Mapping[str, t.Any]) -> str:
    """The remaining time of a described certificate in words."""
    days = described["days_left"]
    return f"{days} day{'' if days == 1 else 's'} left, until {described['not_after']}"


def _no_passphrase() -> str:
    raise Unusable("the key has a passphrase, which a daemon cannot enter; remove it, for example with openssl pkey")


def _server(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as exc:
        if exc.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise Unusable(
                "the key does not belong to the first certificate; set the key of this certificate, "
                "and put the server's certificate before those of its authorities"
            ) from exc
        raise Unusable(
            f"OpenSSL cannot read the certificate or the key ({exc.reason or exc}); set both in PEM format"
        ) from exc
    return context


def known_ciphers(ciphers: str) -> bool:
    """Return whether OpenSSL knows at least one of these ciphers. It ignores unknown ones."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(ciphers)
    except ssl.SSLError:
        return False
    return True


def _seen(server: ssl.SSLContext, trusted: str) -> dict[str, t.Any]:
    """The certificate that a client sees if it trusts this one of the chain. Makes no network connection."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= PARTIAL_CHAIN
    client.load_verify_locations(cadata=trusted)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (near, far, near):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return near.getpeercert() or {}


def chain(text: str) -> list[str]:
    """The certificates in a PEM text, in their order."""
    blocks = [f"{block}{BLOCK_END}\n" for block in text.split(BLOCK_END)[:-1]]
    return [block[block.index("-----BEGIN CERTIFICATE") :] for block in blocks]


def check_pair(certificate: str, key: str, now: float) -> dict[str, t.Any]:
    """Describe the certificate in a file; raise Unusable or OSError if a broker could not serve it with this key."""
    for path in (certificate, key):
        pathlib.Path(path).read_bytes()
    server = _server(certificate, key)
    text = pathlib.Path(certificate).read_text(encoding="utf-8", errors="replace")
    certificates = chain(text)
    if not certificates:
        raise Unusable("there is no line -----BEGIN CERTIFICATE-----; set the certificate in PEM format")
    try:
        # The server's own certificate first: its problems are not those of the chain.
        found = _seen(server, certificates[0])
        _seen(server, certificates[-1])
    except ssl.SSLCertVerificationError as exc:
        remedies = {
            EXPIRED: "a certificate in it has expired; renew it",
            NOT_YET_VALID: "a certificate in it is not valid yet; check the clock of the host, or set an earlier certificate",
        }
        other = (
            f"the certificates are not one chain ({exc.verify_message}); put behind the server's certificate that of its "
            "authority, then that of the next authority"
        )
        raise Unusable(remedies.get(exc.verify_code, other)) from exc
    except ssl.SSLError as exc:
        raise Unusable(f"no client could connect with this certificate and key ({exc.reason or exc})") from exc
    return describe(found, now)
