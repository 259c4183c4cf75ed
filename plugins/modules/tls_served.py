#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_served
short_description: Compare the certificates that listeners serve with their files
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Connects to each listener on the host with TLS, and compares the certificate that it serves with the first one of a file or text.
  - A difference is no failure.
  - It is made for the roles of this collection.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  listeners:
    description: The listeners, each with its certificate as a path on the host or as text.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: The TCP port.
        type: int
        required: true
      bind_address:
        description: The address. Empty, it is every address.
        type: str
        default: ""
      certificate:
        description: The path of the certificate in PEM format.
        type: path
      certificate_pem:
        description: The certificate as text.
        type: str
  timeout:
    description: How many seconds each connection may take.
    type: float
    default: 10
"""

EXAMPLES = r"""
- name: Compare what port 8883 serves with the renewed certificate
  opendev.firehose.tls_served:
    listeners:
      - port: 8883
        certificate: /etc/letsencrypt/live/firehose01.example.org/fullchain.pem
"""

RETURN = r"""
differences:
  description: One line for each listener that serves another certificate, or does not answer.
  returned: success
  type: list
  elements: str
  sample: ["port 8883 serves another certificate than /etc/letsencrypt/live/firehose01.example.org/fullchain.pem"]
"""

import pathlib
import ssl
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files, free_ports
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons, transport

LISTENER: dict[str, t.Any] = {
    **free_ports.LISTENER,
    "certificate": {"type": "path"},
    "certificate_pem": {"type": "str"},
}


def served(listener: t.Mapping[str, t.Any], timeout: float) -> bytes | None:
    """The certificate (DER) that a listener serves."""
    place = {"host": transport.own_address(listener["bind_address"]), "port": listener["port"], "tls": True}
    with transport.opened(transport.endpoint(place), time.monotonic() + timeout) as connection:
        return connection.certificate(der=True)


def difference(listener: t.Mapping[str, t.Any], timeout: float) -> str:
    """Say why a listener does not serve its certificate. Empty if it does."""
    port, path, text = (listener[key] for key in ("port", "certificate", "certificate_pem"))
    try:
        if path is not None:
            text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        [first, *_others] = certificate_files.chain(text)
        same = served(listener, timeout) == ssl.PEM_cert_to_DER_cert(first)
    except OSError as exc:
        return f"port {port}: {path}: {exc.strerror}"
    except ValueError:
        return f"port {port}: {path or 'certificate_pem'} has no certificate in PEM format"
    except reasons.Failure as exc:
        return f"port {port}: {exc}"
    return "" if same else f"port {port} serves another certificate than {path or 'certificate_pem'}"


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "listeners": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": LISTENER,
                "required_one_of": [["certificate", "certificate_pem"]],
                "mutually_exclusive": [["certificate", "certificate_pem"]],
            },
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    timeout = module.params["timeout"]
    wrong = [
        client_options.port_problem(f"listeners[{i}].port", one["port"])
        for i, one in enumerate(module.params["listeners"])
    ]
    for problem in filter(None, [*wrong, client_options.seconds_problem("timeout", timeout)]):
        module.fail_json(msg=problem)
    lines = [difference(listener, timeout) for listener in module.params["listeners"]]
    module.exit_json(changed=False, differences=[line for line in lines if line])


if __name__ == "__main__":
    main()
