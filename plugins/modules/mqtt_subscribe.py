#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_subscribe
short_description: Wait for messages with MQTT
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Subscribes to topics, and waits until as many messages have come as are wanted, or asserts that none comes.
  - A broker like Mosquitto confirms a subscription to topics that the client may not read, and sends nothing. So that nothing comes
    does not prove that nothing was published.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
  - opendev.firehose._attributes.actiongroup_mqtt
  - opendev.firehose._mqtt
requirements:
  - jmespath (C(python3-jmespath) in Debian) on the host where the module runs, if O(condition) is given
options:
  topics:
    description: The topic filters to subscribe to. V(+) stands for one level, and V(#) for all that follow.
    type: list
    elements: str
    required: true
  qos:
    description: The highest quality of service in which messages are sent to this client.
    type: int
    choices: [0, 1, 2]
    default: 1
  count:
    description:
      - How many matching messages to wait for.
      - With V(0) the task fails if a matching message comes within O(timeout), and it takes that long if none does. In the end the broker
        has to confirm that the subscription is over, so that silence is not taken for its answer.
    type: int
    default: 1
  timeout:
    description: The number of seconds to wait for the messages. They are counted from when the broker has confirmed the subscription.
    type: float
    default: 10
  condition:
    description:
      - A JMESPath expression. Only messages match whose payload is JSON for which the expression is true, in the sense of JMESPath, where
        V(null), V(false), and what is empty is false, and the number 0 is true.
      - By default each message matches.
    type: str
  retained:
    description:
      - Whether messages count that the broker had kept from before the subscription.
    type: bool
    default: true
seealso:
  - module: opendev.firehose.mqtt_publish
  - module: opendev.firehose.mqtt_info
  - name: JMESPath
    description: The language of O(condition).
    link: https://jmespath.org/
"""

EXAMPLES = r"""
- name: Wait until the broker tells its version, by websockets
  opendev.firehose.mqtt_subscribe:
    host: mqtt.example.org
    transport: websockets
    username: statistics
    password: "{{ vault_statistics_mqtt_password }}"
    topics:
      - $SYS/broker/version

- name: Wait until a client has been connected for a while
  opendev.firehose.mqtt_subscribe:
    host: mqtt.example.org
    username: statistics
    password: "{{ vault_statistics_mqtt_password }}"
    topics:
      - $SYS/broker/clients/connected
    condition: "@ > `0`"
    timeout: 30

- name: Assert that no build fails for a moment
  opendev.firehose.mqtt_subscribe:
    host: mqtt.example.org
    username: statistics
    password: "{{ vault_statistics_mqtt_password }}"
    topics:
      - zuul/+/build
    condition: event == 'finished' && result != 'SUCCESS'
    retained: false
    count: 0
    timeout: 2
"""

RETURN = r"""
messages:
  description: The messages that match, in the order in which they came. Never more than O(count), or one if that is V(0).
  returned: success, and on failure if the broker had let the client in
  type: list
  elements: dict
  contains:
    topic:
      description: The topic of the message.
      returned: always
      type: str
      sample: $SYS/broker/version
    payload:
      description: The payload, or V(null) if it is not text in UTF-8.
      returned: always
      type: str
      sample: mosquitto version 2.0.21
    payload_base64:
      description: The payload in Base64 if it is not text in UTF-8, else V(null).
      returned: always
      type: str
      sample: null
    qos:
      description: The quality of service in which it came.
      returned: always
      type: int
      sample: 0
    retain:
      description: Whether the broker had kept it from before the subscription.
      returned: always
      type: bool
      sample: true
count:
  description: How many messages are in RV(messages).
  returned: success, and on failure if the broker had let the client in
  type: int
  sample: 1
ignored:
  description: How many messages came that did not match.
  returned: success, and on failure if the broker had let the client in
  type: int
  sample: 0
cause:
  description:
    - What was wrong. C(msg) says it in words.
    - It is not returned if the arguments were wrong, or a library is missing.
    - V(unreachable) - The name of the host cannot be resolved, or nothing listens there, or there is no way to it.
    - V(no_answer) - The broker did not answer in time.
    - V(not_mqtt) - The port answers without MQTT, or closes the connection before the login.
    - V(tls) - There is no TLS connection, for example because the certificate of the broker is not valid, or one of the files is not.
    - V(login) - The user name or the password is wrong, or the client is not accepted.
    - V(refused) - The broker rejects the connection for another reason, for example since it does not know the version of MQTT.
    - V(lost) - The connection ended after the login.
    - V(subscription) - The broker rejected the subscription.
    - V(messages) - There were too few matching messages, or one with O(count=0).
  returned: failure
  type: str
  choices: [unreachable, no_answer, not_mqtt, tls, login, refused, lost, subscription, messages]
  sample: messages
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import (
    client_options,
    reasons,
    received_messages,
    topic_filters,
)
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session, check_options


def own_problems(params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the options that are not those of a connection."""
    problems = [
        f"topics[{index}]: {problem}"
        for index, problem in enumerate(map(topic_filters.filter_problem, params["topics"]))
        if problem
    ]
    if not params["topics"]:
        problems.append("topics: there is none")
    if params["count"] < 0:
        problems.append(f"count: {params['count']} is less than 0")
    problem = client_options.seconds_problem("timeout", params["timeout"])
    return [*problems, problem] if problem else problems


def shortcoming(params: t.Mapping[str, t.Any], collector: received_messages.Collector) -> str | None:
    """Say in which way other messages came than were wanted, or None."""
    wanted, got = params["count"], len(collector.matching)
    if wanted == 0 and got:
        return f"a message came on {collector.matching[0].topic} that should not"
    if got < wanted:
        return (
            f"of {wanted} matching messages {got} came within {params['timeout']:g} seconds, "
            f"and {collector.ignored} that do not match"
        )
    return None


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **client_options.argument_spec(),
            "topics": {"type": "list", "elements": "str", "required": True},
            "qos": {"type": "int", "choices": [0, 1, 2], "default": 1},
            "count": {"type": "int", "default": 1},
            "timeout": {"type": "float", "default": 10},
            "condition": {"type": "str"},
            "retained": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params, condition = module.params, None
    check_options(module, own_problems(params))
    if params["condition"] is not None:
        if received_messages.JMESPATH_ERROR:
            message = f"{missing_required_lib('jmespath')}. In Debian it is the package python3-jmespath."
            module.fail_json(msg=message, exception=received_messages.JMESPATH_ERROR)
        try:
            condition = received_messages.Condition(params["condition"])
        except received_messages.ConditionError as exc:
            module.fail_json(msg=str(exc))

    collector = received_messages.Collector(max(params["count"], 1), condition, params["retained"])
    failure = None
    entered = False
    try:
        with Session(params) as session:
            entered = True
            session.subscribe(params["topics"], params["qos"])
            deadline = time.monotonic() + params["timeout"]
            session.run(lambda: collector.take(session.messages), deadline)
            if params["count"] == 0 and not collector.matching:
                # Nothing comes through a connection that died, either.
                session.unsubscribe(params["topics"])
                collector.take(session.messages)
    except reasons.Failure as exc:
        failure = {"msg": str(exc), "cause": exc.cause}
    except received_messages.ConditionError as exc:
        failure = {"msg": str(exc)}
    result = {
        "messages": [received_messages.as_result(message) for message in collector.matching],
        "count": len(collector.matching),
        "ignored": collector.ignored,
    }
    if failure:
        module.fail_json(**failure, **(result if entered else {}))
    problem = shortcoming(params, collector)
    if problem:
        module.fail_json(msg=f"{client_options.place(params)}: {problem}", cause="messages", **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
