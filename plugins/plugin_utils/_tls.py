# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""A listener's TLS: its validation, and its files."""

from __future__ import annotations

import base64
import binascii
import os
import re
import typing as t

Variables = t.Mapping[str, t.Any]

# Texts that have more than one line
PEM_KEYS = ("certificate_pem", "key_pem")
PATH_KEYS = ("certificate", "key")
PATH = re.compile(r"(/[^\s/]+)+")
BLOCK = re.compile(r"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?$(.*?)^-----END \1-----", re.DOTALL | re.MULTILINE)
KEY_LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
# OpenSSL writes the curve's name before an EC key.
BESIDE_KEYS = ("EC PARAMETERS",)
OWNER = {"owner": "root", "group": "root"}


def _is_der(text: str) -> bool:
    """Return whether the body of a PEM block is the Base64 of an ASN.1 sequence, as keys and certificates are."""
    try:
        return base64.b64decode(re.sub(r"[ \t\r\n]+", "", text), validate=True)[:1] == b"\x30"
    except (binascii.Error, ValueError):
        return False


def certificate_problem(text: str) -> str | None:
    """Say why a text is not a certificate, followed by those of its authorities, or None. Does not quote it."""
    blocks = BLOCK.findall(text)
    if not blocks or text.count("-----BEGIN") != len(blocks):
        return "this is not a certificate in PEM format, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
    if any(label != "CERTIFICATE" for label, _body in blocks):
        return "there is something else than certificates in it; the key belongs into key_pem"
    if not all(_is_der(body) for _label, body in blocks):
        return "what stands between BEGIN and END is no certificate"
    return None


def _key_problem(text: str) -> str | None:
    """Say why a text is not a private key that the broker can read without a passphrase, or None. Does not quote it."""
    if "ENCRYPTED" in text:
        return "a key with a passphrase cannot be used by a daemon"
    blocks = [(label, body) for label, body in BLOCK.findall(text) if label not in BESIDE_KEYS]
    if [label for label, _body in blocks if label in KEY_LABELS] != [label for label, _body in blocks] or not blocks:
        return "this is not a private key in PEM format, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
    if len(blocks) > 1 or not _is_der(blocks[0][1]):
        return "what stands between BEGIN and END is not one private key"
    return None


def _pair_problems(tls: Variables) -> t.Iterator[tuple[str, str]]:
    """The problems of the certificate and its key."""
    paths, texts = ([key for key in keys if tls.get(key) is not None] for keys in (PATH_KEYS, PEM_KEYS))
    if paths and texts:
        yield "", f"has {paths[0]} and {texts[0]}: either both certificate and key are paths, or both are texts"
    elif not paths and not texts:
        yield "", "needs certificate and key, or certificate_pem and key_pem"
    elif len(paths or texts) == 1:
        [missing] = {*(PATH_KEYS if paths else PEM_KEYS)} - {*paths, *texts}
        yield "", f"has {[*paths, *texts][0]}, and needs {missing} too"
    for key, look in (("certificate_pem", certificate_problem), ("key_pem", _key_problem)):
        problem = look(str(tls[key])) if key in texts else None
        if problem:
            yield f".{key}", problem


def problems(tls: Variables | None, path: str) -> t.Iterator[str]:
    """The values with which the broker cannot serve TLS, each line with its place. Quotes no secret."""
    if tls is None:
        return
    for key, problem in _pair_problems(tls):
        yield f"{path}{key}: {problem}"
    for key in (*PATH_KEYS, "ca"):
        if tls.get(key) is not None and not PATH.fullmatch(str(tls[key])):
            yield f"{path}.{key}: this is not the absolute path of a file, without blanks"
    if tls.get("require_certificate") and tls.get("ca") is None:
        yield f"{path}.require_certificate: needs ca, which says whose certificates are taken"
    if tls.get("ca") is not None and not tls.get("require_certificate"):
        yield f"{path}.ca: only with require_certificate; what leads to the broker's own certificate belongs behind that one"
    ciphers = tls.get("ciphers")
    if ciphers is not None and not re.fullmatch(r"\S+", str(ciphers)):
        yield f"{path}.ciphers: cannot be empty, or have blanks"
    elif "@SECLEVEL=0" in str(ciphers):
        yield f"{path}.ciphers: with @SECLEVEL=0 OpenSSL lets clients in that speak less than TLS 1.2"


def with_paths(listeners: t.Iterable[Variables], directory: str) -> list[Variables]:
    """The same listeners. Those with certificates as texts also get the paths of their files below a directory."""

    def placed(listener: Variables) -> Variables:
        tls = listener.get("tls")
        if not tls or tls.get("key_pem") is None:
            return listener
        address = listener.get("bind_address")
        folder = f"{directory}/{listener['port']}{f'-{address}' if address else ''}"
        return {**listener, "tls": {**tls, **{key: f"{folder}/{key}.pem" for key in PATH_KEYS}}}

    return [placed(listener) for listener in listeners]


def pem_file(path: str, text: str) -> dict[str, t.Any]:
    """The file of a certificate or key that is a text, for the module text_files. Only root can read it."""
    return {"path": path, "content": f"{text.strip()}\n", "secret": True, "mode": "0600", **OWNER}


def files(listeners: t.Iterable[Variables]) -> dict[str, list[dict[str, t.Any]]]:
    """The options of the module text_files: directories and files of certificates and keys that are texts."""
    own = [listener["tls"] for listener in listeners if (listener.get("tls") or {}).get("key_pem") is not None]
    folders = dict.fromkeys(os.path.dirname(tls["key"]) for tls in own)
    above = dict.fromkeys(os.path.dirname(folder) for folder in folders)
    return {
        "directories": [{"path": path, "mode": "0700", **OWNER} for path in (*above, *folders)],
        "files": [pem_file(tls[key], tls[f"{key}_pem"]) for tls in own for key in PATH_KEYS],
    }


def _pair(port: int, tls: Variables) -> dict[str, t.Any]:
    """The certificate, key and ciphers of a listener. Texts come before the paths that they are written to."""
    keys = PATH_KEYS if tls.get("key_pem") is None else PEM_KEYS
    ciphers = {"ciphers": str(tls["ciphers"])} if tls.get("ciphers") is not None else {}
    return {"port": port, **{key: tls[key] for key in keys}, **ciphers}


def certificates(listeners: t.Iterable[Variables]) -> list[dict[str, t.Any]]:
    """The certificates for the module tls_served, without private keys."""
    found = []
    for listener in listeners:
        tls = listener.get("tls")
        if tls:
            key = "certificate" if tls.get("certificate") is not None else "certificate_pem"
            found.append({"port": listener["port"], "bind_address": listener.get("bind_address") or "", key: tls[key]})
    return found


def pairs(listeners: t.Iterable[Variables]) -> list[dict[str, t.Any]]:
    """The pairs for the module tls_validate: the certificate and key of each listener that has them."""
    return [_pair(listener["port"], listener["tls"]) for listener in listeners if listener.get("tls")]
