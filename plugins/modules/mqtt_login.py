#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_login
short_description: Check whether a broker accepts a login
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Connects to an MQTT broker, logs in, and leaves again. It fails, and says why, if nobody answers, a certificate is not valid or for another
    host, or the broker rejects the name and its password.
  - Needs no library on the host that it runs on, which is the one whose way to the broker it tries.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  host:
    description: The broker's name or address.
    type: str
    required: true
  port:
    description: The broker's port.
    type: int
    required: true
  protocol:
    description: Whether MQTT is spoken as it is, or over websockets.
    type: str
    choices: [mqtt, websockets]
    default: mqtt
  tls:
    description: Whether to use TLS.
    type: bool
    default: false
  ca_file:
    description:
      - A file with the certificates, in PEM format, of the authorities that are trusted to have signed the broker's. Without it the certificate
        is not looked at. Needs O(tls=true).
    type: path
  username:
    description: The name. Without one, the client is anonymous.
    type: str
  password:
    description: Its password.
    type: str
  client_id:
    description:
      - The client id. Without one, the broker makes one up.
      - The client asks for a clean session, so that the broker forgets one that it has kept for this client id.
    type: str
    default: ""
  timeout:
    description: The number of seconds that a connection and each answer may take.
    type: float
    default: 10
seealso:
  - module: opendev.firehose.mqtt_info
"""

EXAMPLES = r"""
- name: See whether this host may log in
  opendev.firehose.mqtt_login:
    host: mqtt.example.org
    port: 8883
    tls: true
    ca_file: /etc/ssl/firehose-ca.pem
    username: zuul
    password: "{{ vault_zuul_mqtt_password }}"
"""

RETURN = r"""
seconds:
  description: How many seconds the login took.
  returned: success
  type: float
  sample: 0.012
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.client import connected


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "protocol": {"type": "str", "choices": ["mqtt", "websockets"], "default": "mqtt"},
            "tls": {"type": "bool", "default": False},
            "ca_file": {"type": "path"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "client_id": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    wrong = [
        client_options.port_problem("port", params["port"]),
        client_options.seconds_problem("timeout", params["timeout"]),
    ]
    if params["password"] is not None and params["username"] is None:
        wrong.append("password: there is no username")
    if params["ca_file"] is not None and not params["tls"]:
        wrong.append("ca_file needs tls=true")
    wrong += client_options.text_problems({name: params[name] for name in ("username", "password", "client_id")})
    for problem in filter(None, wrong):
        module.fail_json(msg=problem)
    listener = {key: params[key] for key in ("host", "port", "protocol", "tls", "ca_file")}
    start = time.monotonic()
    login = params["username"], params["password"], params["client_id"]
    who = f"as {params['username']!r}" if params["username"] is not None else "without a name"
    place = f"{params['host']} port {params['port']}, {who}"
    try:
        with connected(listener, params["timeout"]) as client:
            code = client.log_in(*login)
            client.leave()
    except reasons.Failure as exc:
        module.fail_json(msg=f"{place}: {exc}")
    if code:
        module.fail_json(msg=f"{place}: it does not let this client in: {reasons.return_code(code)}")
    module.exit_json(changed=False, seconds=round(time.monotonic() - start, 3))


if __name__ == "__main__":
    main()
