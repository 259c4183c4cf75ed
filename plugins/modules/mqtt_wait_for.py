#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_wait_for
short_description: Wait until MQTT listeners answer
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Connects to each listener from the host where the module runs, and waits until a broker answers there, by MQTT or by MQTT over websockets.
  - Any answer to the C(CONNECT) counts, also a refusal. Whether a client may log in or read is not asked.
  - An open port is not enough. Mosquitto 2.0.11, for one, is active and silent when it could not open a websocket listener.
  - Of a listener with TLS that asks clients for a certificate, its word that this one has none is an answer too.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  listeners:
    description: The listeners that have to answer.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The name or address to connect to.
        type: str
        default: localhost
      port:
        description: The TCP port, 1 to 65535. One of O(listeners[].port) and O(listeners[].socket) is needed.
        type: int
      socket:
        description: The path of a unix socket.
        type: path
      protocol:
        description: What the listener speaks.
        type: str
        choices: [mqtt, websockets]
        default: mqtt
      tls:
        description:
          - Whether the listener wants TLS. Cannot be used with O(listeners[].socket).
          - Without O(listeners[].ca_file) any certificate is taken, since what is asked is only whether the listener serves.
        type: bool
        default: false
        version_added: 3.0.0
      ca_file:
        description:
          - A file with the certificates, in PEM format, of the authorities that are trusted to have signed the listener's certificate, which
            then has to be valid for O(listeners[].host). Needs O(listeners[].tls=true).
        type: path
        version_added: 3.0.0
  timeout:
    description: How many seconds the listeners have in all. With V(0) each is asked once.
    type: float
    default: 10
"""

EXAMPLES = r"""
- name: Wait until both public listeners serve
  opendev.firehose.mqtt_wait_for:
    listeners:
      - port: 1883
      - port: 80
        protocol: websockets

- name: Wait until the listener with TLS serves
  opendev.firehose.mqtt_wait_for:
    listeners:
      - port: 8883
        tls: true
"""

RETURN = r"""
unanswered:
  description: The listeners that did not answer, each with the reason.
  returned: failure
  type: list
  elements: str
  sample: ["127.0.0.1 port 80 (websockets): nothing listens there: Connection refused"]
closed:
  description: Those of RV(unanswered) where nobody listens at all. The others may just be busy.
  returned: failure
  type: list
  elements: str
  sample: ["127.0.0.1 port 80 (websockets): nothing listens there: Connection refused"]
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client, client_options, reasons, transport

PAUSE = 0.2


def describe(listener: dict[str, t.Any]) -> str:
    place = listener["socket"] or f"{listener['host']} port {listener['port']}"
    return f"{place} ({listener['protocol']}{', TLS' if listener['tls'] else ''})"


def problems(params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the options, so that there is no need to ask."""
    found = []
    for index, listener in enumerate(params["listeners"]):
        if listener["ca_file"] is not None and not listener["tls"]:
            found.append(f"listeners[{index}].ca_file needs tls=true")
        if listener["socket"] is not None:
            if listener["tls"]:
                found.append(f"listeners[{index}].tls makes no sense with a socket")
            continue
        problem = client_options.port_problem(f"listeners[{index}].port", listener["port"])
        if problem:
            found.append(problem)
        if not listener["host"].strip():
            found.append(f"listeners[{index}].host is empty")
    problem = client_options.seconds_problem("timeout", params["timeout"]) if params["timeout"] != 0 else None
    if problem:
        found.append(problem)
    return found


def wait_for(listener: dict[str, t.Any], deadline: float) -> reasons.Failure | None:
    """Ask until the listener answers or the deadline passes; return what was wrong last."""
    while True:
        left = deadline - time.monotonic()
        try:
            client.ask(listener, max(left, PAUSE))
        except reasons.Failure as exc:
            if left <= PAUSE:
                return exc
            time.sleep(PAUSE)
        else:
            return None


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "listeners": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "default": "localhost"},
                    "port": {"type": "int"},
                    "socket": {"type": "path"},
                    "protocol": {"type": "str", "choices": ["mqtt", "websockets"], "default": "mqtt"},
                    "tls": {"type": "bool", "default": False},
                    "ca_file": {"type": "path"},
                },
                "required_one_of": [["port", "socket"]],
                "mutually_exclusive": [["port", "socket"]],
            },
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    wrong = problems(module.params)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    deadline = time.monotonic() + module.params["timeout"]
    unanswered, closed = [], []
    for listener in module.params["listeners"]:
        reason = wait_for(listener, deadline)
        if reason:
            unanswered.append(f"{describe(listener)}: {reason}")
        if isinstance(reason, transport.Closed):
            closed.append(unanswered[-1])
    if unanswered:
        module.fail_json(
            msg=f"listeners that do not serve: {'; '.join(unanswered)}", unanswered=unanswered, closed=closed
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
