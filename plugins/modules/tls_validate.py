#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_validate
short_description: Validate the certificates and keys of TLS listeners
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Loads each certificate with its key, and verifies dates and chain in a TLS handshake within the module. It opens no connection and writes no file.
  - Fails if a server could not serve a certificate, clients would reject its dates or its chain, or OpenSSL knows none of the ciphers.
  - Warns of a certificate that expires soon.
  - It is made for the roles of this collection.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  variable:
    description: The name of the variable that messages name.
    type: str
    required: true
  pairs:
    description: The certificates and keys, each pair as paths on the host or as texts.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: The port of the listener.
        type: int
        required: true
      certificate:
        description: The path of the certificate, followed by those of its authorities, in PEM format.
        type: path
      key:
        description: The path of its private key in PEM format.
        type: path
      certificate_pem:
        description: The certificates as text.
        type: str
      key_pem:
        description: The private key as text.
        type: str
      ciphers:
        description: The ciphers of the listener, as OpenSSL names them.
        type: str
  days:
    description: A certificate that lasts fewer days is a warning.
    type: int
    default: 14
"""

EXAMPLES = r"""
- name: Validate a certificate and its key
  opendev.firehose.tls_validate:
    variable: firehose_tls
    pairs:
      - port: 8883
        certificate: /etc/letsencrypt/live/firehose01.example.org/fullchain.pem
        key: /etc/letsencrypt/live/firehose01.example.org/privkey.pem
"""

RETURN = r"""
certificates:
  description: The server certificates, each once.
  returned: success
  type: list
  elements: dict
  contains:
    not_after:
      description: The end of its validity.
      type: str
      sample: "2027-01-31T12:00:00Z"
    days_left:
      description: The number of full days until then.
      type: int
      sample: 64
    subject:
      description: Its subject.
      type: str
      sample: commonName=firehose01.example.org
    issuer:
      description: Its issuer.
      type: str
      sample: commonName=Example CA
"""

import contextlib
import os
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files, quiet

ARGUMENT_SPEC: dict[str, t.Any] = {
    "variable": {"type": "str", "required": True},
    "pairs": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "port": {"type": "int", "required": True},
            "certificate": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "certificate_pem": {"type": "str"},
            "key_pem": {"type": "str", "no_log": True},
            "ciphers": {"type": "str"},
        },
        "required_together": [["certificate", "key"], ["certificate_pem", "key_pem"]],
        "required_one_of": [["key", "key_pem"]],
        "mutually_exclusive": [["key", "key_pem"]],
    },
    "days": {"type": "int", "default": 14},
}
TEXTS = "certificate_pem and key_pem"


def in_memory(text: str, stack: contextlib.ExitStack) -> str:
    """The path of a file that no disk has and no other user can open, while the stack is open."""
    file = stack.enter_context(os.fdopen(os.memfd_create("pem"), "w+", encoding="utf-8"))
    file.write(f"{text.strip()}\n")
    file.flush()
    return f"/proc/self/fd/{file.fileno()}"


def check(pair: t.Mapping[str, t.Any], now: float) -> tuple[str, dict[str, t.Any]]:
    """Say why a pair cannot be served, or describe its certificate."""
    with contextlib.ExitStack() as stack:
        try:
            if pair["key"] is not None:
                return "", certificate_files.check_pair(pair["certificate"], pair["key"], now)
            paths = [in_memory(pair[key], stack) for key in ("certificate_pem", "key_pem")]
            return "", certificate_files.check_pair(*paths, now)
        except certificate_files.Unusable as exc:
            return str(exc), {}
        except OSError as exc:
            return f"{exc.filename}: {exc.strerror}; install the file on the host first, or correct the path", {}


def main() -> t.NoReturn:
    module = quiet.QuietModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    variable, days, now = module.params["variable"], module.params["days"], time.time()
    ports: dict[tuple[str, ...], list[str]] = {}
    pairs = {}
    for pair in module.params["pairs"]:
        key = (pair["certificate"] or pair["certificate_pem"], pair["key"] or pair["key_pem"])
        pairs[key] = pair
        ports.setdefault(key, []).append(str(pair["port"]))
    found, certificates = [], []
    for key, pair in pairs.items():
        files = f"{pair['certificate']} and {pair['key']}" if pair["key"] is not None else TEXTS
        place = f"{variable}: {files} (port {', '.join(ports[key])})"
        problem, certificate = check(pair, now)
        if problem:
            found.append(f"{place}: {problem}")
            continue
        certificates.append(certificate)
        if certificate["days_left"] < days:
            module.warn(f"{place}: the certificate expires soon: {certificate_files.lasts(certificate)}; renew it")
    for pair in module.params["pairs"]:
        if pair["ciphers"] is not None and not certificate_files.known_ciphers(pair["ciphers"]):
            found.append(
                f"{variable}: ciphers {pair['ciphers']!r} (port {pair['port']}): OpenSSL of this host knows none of them;"
                " `openssl ciphers` lists those that it knows"
            )
    if found:
        module.fail_json(msg="\n".join(found))
    module.exit_json(changed=False, certificates=certificates)


if __name__ == "__main__":
    main()
