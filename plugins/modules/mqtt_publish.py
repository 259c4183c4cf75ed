#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_publish
short_description: Publish a message with MQTT
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Publishes one message, and tells whether the broker accepted it, where the protocol can tell.
  - Not every message that is acknowledged was accepted. With MQTT 3.1.1 a broker like Mosquitto acknowledges a message that its rules
    forbid, and drops it. See RV(acceptance).
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.actiongroup_mqtt
  - opendev.firehose._mqtt
attributes:
  check_mode:
    support: full
    details:
      - In check mode the module connects and logs in, and publishes nothing. Whether the message would be accepted stays unknown.
  diff_mode:
    support: N/A
    details:
      - A message is an event, and has no state before.
  idempotent:
    support: none
    details:
      - Each run publishes the message again.
options:
  topic:
    description: The topic to publish on. It cannot have the wildcards V(+) and V(#), or control characters.
    type: str
    required: true
  payload:
    description:
      - The payload, as text. It is sent in UTF-8.
      - An empty payload with O(retain=true) removes the retained message of the topic.
    type: str
    default: ""
  qos:
    description:
      - The quality of service. V(0) is not acknowledged, V(1) is, and may come more than once, V(2) comes exactly once.
      - With V(0) the module sends a ping behind the message. The task fails if the broker does not answer it.
    type: int
    choices: [0, 1, 2]
    default: 1
  retain:
    description: Whether the broker keeps the message for clients that subscribe later.
    type: bool
    default: false
seealso:
  - module: opendev.firehose.mqtt_subscribe
  - module: opendev.firehose.mqtt_info
"""

EXAMPLES = r"""
- name: Publish an event
  opendev.firehose.mqtt_publish:
    host: mqtt.example.org
    username: zuul
    password: "{{ vault_zuul_mqtt_password }}"
    topic: zuul/example/build
    payload: "{{ {'event': 'finished', 'result': 'SUCCESS'} | to_json }}"

- name: Publish a message that stays, encrypted, and look at what the broker says
  opendev.firehose.mqtt_publish:
    host: mqtt.example.org
    tls: true
    ca_path: /etc/ssl/firehose-ca.pem
    username: zuul
    password: "{{ vault_zuul_mqtt_password }}"
    topic: zuul/example/state
    payload: idle
    retain: true
  register: published

- name: Publish two messages with the same connection options
  module_defaults:
    group/opendev.firehose.mqtt:
      host: mqtt.example.org
      transport: websockets
      username: zuul
      password: "{{ vault_zuul_mqtt_password }}"
  block:
    - name: Publish a message that comes exactly once
      opendev.firehose.mqtt_publish:
        topic: zuul/example/build
        payload: started
        qos: 2

    - name: Remove a message that stayed
      opendev.firehose.mqtt_publish:
        topic: zuul/example/state
        retain: true
"""

RETURN = r"""
acceptance:
  description:
    - Whether the broker accepted the message. If it did not, the task fails.
    - V(accepted) - The broker said so. That takes MQTT 5, and O(qos=1) or O(qos=2).
    - V(refused) - The broker said so.
    - V(unknown) - The protocol cannot say, which is so with MQTT 3.1.1 and with O(qos=0). Also in check mode.
  returned: success, and if the broker rejected the message
  type: str
  choices: [accepted, refused, unknown]
  sample: accepted
reason_code:
  description: The reason code in the acknowledgement of MQTT 5, which is V(null) if there is none. From V(128) on it is a refusal.
  returned: success, and if the broker rejected the message
  type: int
  sample: 0
reason:
  description: Why RV(acceptance) is what it is.
  returned: success, and if the broker rejected the message
  type: str
  sample: "The broker accepted the message, and says: no matching subscribers (reason code 16)."
cause:
  description:
    - What was wrong. C(msg) says it in words.
    - It is not returned if the arguments were wrong.
    - V(unreachable) - The name of the host cannot be resolved, or nothing listens there, or there is no way to it.
    - V(no_answer) - The broker did not answer in time.
    - V(not_mqtt) - The port answers without MQTT, or closes the connection before the login.
    - V(tls) - There is no TLS connection, for example because the certificate of the broker is not valid, or one of the files is not.
    - V(login) - The user name or the password is wrong, or the client is not accepted.
    - V(refused) - The broker rejects the connection for another reason, for example since it does not know the version of MQTT.
    - V(lost) - The connection ended after the login.
    - V(message) - The broker rejected the message, or it is larger than the broker or MQTT allows, and was not sent.
  returned: failure
  type: str
  choices: [unreachable, no_answer, not_mqtt, tls, login, refused, lost, message]
  sample: login
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session, check_options


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **client_options.argument_spec(),
            "topic": {"type": "str", "required": True},
            "payload": {"type": "str", "default": ""},
            "qos": {"type": "int", "choices": [0, 1, 2], "default": 1},
            "retain": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    problem = client_options.topic_problem(params["topic"])
    check_options(module, [f"topic: {problem}"] if problem else [])

    code = None
    try:
        with Session(params) as session:
            if not module.check_mode:
                code = session.publish(params["topic"], params["payload"], params["qos"], params["retain"])
    except reasons.Failure as exc:
        module.fail_json(msg=str(exc), cause=exc.cause)

    if module.check_mode:
        acceptance, reason = "unknown", "Nothing is published in check mode."
    else:
        acceptance, reason = reasons.acceptance(params["protocol_version"], params["qos"], code)
    result = {"acceptance": acceptance, "reason_code": code, "reason": reason}
    if acceptance == "refused":
        module.fail_json(msg=f"{client_options.place(params)}: {params['topic']}: {reason}", cause="message", **result)
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
