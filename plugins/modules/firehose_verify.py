#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firehose_verify
short_description: Verify what a firehose promises its public
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Connects to a live firehose as the public does, and tries out what it may and may not do. Where the module runs is where the public is.
  - Every listener has to let anyone in, with MQTT 3.1.1 and 5, and all of them have to deliver the same message.
  - Clients without a name, and clients that claim a publisher's name without knowing its password, try to publish in every way there is.
    Acknowledgements prove nothing, so that subscribers decide, who would have got it.
  - What is published has topics of its own wherever the rights of an account leave room for that, and says in its payload what it is.
    A retained message that gets through is taken back.
  - It publishes and subscribes with anonymous clients, with the account O(probe), and with those of O(publishers) if that is asked for.
    Nothing else changes. Two connections to each listener stay open, and two more come and go.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is published. What remains is that listeners let anyone in, that C($SYS) is closed, and that the feed is fresh.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
requirements:
  - paho-mqtt >= 1.6 (C(python3-paho-mqtt) in Debian) where the module runs
options:
  host:
    description: The name or the address by which the public reaches the firehose.
    type: str
    required: true
  listeners:
    description: The public listeners. Those with pre-shared keys or the PROXY protocol are not supported.
    type: list
    elements: dict
    default:
      - port: 1883
      - port: 80
        protocol: websockets
    suboptions:
      port:
        description: The TCP port.
        type: int
        required: true
      protocol:
        description: What the listener speaks.
        type: str
        choices: [mqtt, websockets]
        default: mqtt
      tls:
        description: Whether the listener wants TLS. Its certificate has to be valid for O(host).
        type: bool
        default: false
        version_added: 3.0.0
      address:
        description: The address that the listener is bound to. The listener is not checked if it is none of those of O(host).
        type: str
        version_added: 2.1.0
      not_checked:
        description: Why the listener is not checked, if it is not.
        type: str
        version_added: 2.1.0
  ca_file:
    description:
      - A file with the certificates, in PEM format, of the authorities that are trusted to have signed the listeners' certificates. By default
        those that the host trusts.
    type: path
    version_added: 3.0.0
  certificate_days:
    description: A certificate that lasts fewer days is warned of.
    type: int
    default: 14
    version_added: 3.0.0
  probe:
    description:
      - An account that may write C(firehose/verify/#), and read C(#). It publishes what the others' silence is measured by, and sees also what
        the public may not read.
      - Without it, nothing is published, and what takes publishing is not checked.
    type: dict
    suboptions:
      name:
        description: The account's name.
        type: str
        required: true
      password:
        description: The account's password.
        type: str
        required: true
  publishers:
    description:
      - The accounts whose names are claimed, as the variable C(firehose_publishers) of the role P(opendev.firehose.firehose#role) has them.
      - Those without O(publishers[].topics) may write nothing, so that only their login is tried.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The account's name.
        type: str
        required: true
      topics:
        description: The topic filters that the account may write.
        type: list
        elements: str
        default: []
      password:
        description: The account's password, if it is known. It is used with O(check_publishers=true) only.
        type: str
      password_hash:
        description: It says that there is a password which is not known.
        type: str
      state:
        description: Absent accounts are passed over.
        type: str
        choices: [present, absent]
        default: present
  anonymous_topics:
    description: Topic filters that clients without a name try to write beside all others, one topic of each.
    type: list
    elements: str
    default: []
    version_added: 2.1.0
  public_topics:
    description: The topic filters that anyone may read. What is published elsewhere only O(probe) has to see.
    type: list
    elements: str
    default: ["#"]
  check_publishers:
    description:
      - Whether each of O(publishers) publishes a message too. Those without a password are listed as not checked.
      - If none of a publisher's topic filters has a wildcard, the message has a topic that consumers may know.
    type: bool
    default: false
  feed:
    description:
      - What the topics of events start with, some of which arrive all the time. If this is not given, or the public may read none of them,
        no feed is waited for.
    type: str
  feed_timeout:
    description: How many seconds to wait for an event of O(feed).
    type: float
    default: 60
  feed_max_age:
    description: How many seconds ago an event of O(feed) may have been created, by its C(eventCreatedOn).
    type: float
    default: 300
  timeout:
    description: How many seconds a connection, an acknowledgement or a message may take.
    type: float
    default: 10
  other_checks:
    description: What was looked at elsewhere. It comes first in RV(checks).
    type: list
    elements: dict
    default: []
    version_added: 2.1.0
    suboptions:
      check:
        description: What has to be the case.
        type: str
        required: true
      result:
        description: Whether it is.
        type: str
        choices: [passed, warning, failed, not checked]
        required: true
      cause:
        description: What was seen.
        type: str
        default: ""
  time_limit:
    description: How many seconds all of it may take. What is not done by then has failed.
    type: float
    default: 1800
    version_added: 2.1.0
"""

EXAMPLES = r"""
- name: Verify from the outside what the public may do
  opendev.firehose.firehose_verify:
    host: firehose01.example.org
    probe:
      name: probe
      password: "{{ vault_probe_mqtt_password }}"
    publishers:
      - name: zuul
        topics: [zuul/#]
  delegate_to: localhost
  register: verified

- name: Show it
  ansible.builtin.debug:
    msg: "{{ verified.table }}"
"""

RETURN = r"""
checks:
  description: What was looked at.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: What has to be the case.
      type: str
      sample: $SYS is closed
    result:
      description: Whether it is. V(warning) says that it is, and for how little longer.
      type: str
      choices: [passed, warning, failed, not checked]
      sample: failed
    cause:
      description: What was seen, or why it was not checked.
      type: str
      sample: 42 topics can be read, among them '$SYS/broker/version' through port 1883 (mqtt, MQTT 5)
table:
  description: RV(checks) as the lines of a table.
  returned: always
  type: list
  elements: str
  sample: ["failed       $SYS is closed: 42 topics can be read, ..."]
failures:
  description: The lines of RV(table) that tell of failures.
  returned: always
  type: list
  elements: str
  sample: []
"""

import secrets
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import (
    _mqtt,
    _mqtt_client,
    _quiet,
    _verification,
    _verify,
    _verify_clients,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "host": {"type": "str", "required": True},
    "listeners": {
        "type": "list",
        "elements": "dict",
        "default": [{"port": 1883}, {"port": 80, "protocol": "websockets"}],
        "options": {
            "port": {"type": "int", "required": True},
            "protocol": {"type": "str", "choices": ["mqtt", "websockets"], "default": "mqtt"},
            "tls": {"type": "bool", "default": False},
            "address": {"type": "str"},
            "not_checked": {"type": "str"},
        },
    },
    "ca_file": {"type": "path"},
    "certificate_days": {"type": "int", "default": 14},
    "probe": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
    },
    "publishers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "topics": {"type": "list", "elements": "str", "default": []},
            "password": {"type": "str", "no_log": True},
            "password_hash": {"type": "str", "no_log": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "anonymous_topics": {"type": "list", "elements": "str", "default": []},
    "public_topics": {"type": "list", "elements": "str", "default": ["#"]},
    "check_publishers": {"type": "bool", "default": False},
    "feed": {"type": "str"},
    "feed_timeout": {"type": "float", "default": 60},
    "feed_max_age": {"type": "float", "default": 300},
    "timeout": {"type": "float", "default": 10},
    "other_checks": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "check": {"type": "str", "required": True},
            "result": {
                "type": "str",
                "choices": [_verify.PASSED, _verify.WARNING, _verify.FAILED, _verify.NOT_CHECKED],
                "required": True,
            },
            "cause": {"type": "str", "default": ""},
        },
    },
    "time_limit": {"type": "float", "default": 1800},
}


def problems(params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the options, so that there is no need to try."""
    found = [] if params["host"].strip() else ["host is empty"]
    listeners = enumerate(params["listeners"])
    ports = (_mqtt.port_problem(f"listeners[{index}].port", listener["port"]) for index, listener in listeners)
    times = ("feed_timeout", "feed_max_age", "timeout", "time_limit")
    return [*found, *filter(None, ports), *filter(None, (_mqtt.seconds_problem(name, params[name]) for name in times))]


def main() -> t.NoReturn:
    module = _quiet.QuietModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    wrong = problems(params)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    _mqtt_client.need_library(module)
    probe = None if module.check_mode or not params["probe"] else _verify.Publisher.from_option(params["probe"])
    present = [publisher for publisher in params["publishers"] if publisher["state"] == "present"]
    publishers = [_verify.Publisher.from_option(publisher) for publisher in present]
    reasons = [_verify_clients.why_not_checked(params["host"], listener) for listener in params["listeners"]]
    listeners = [*zip(params["listeners"], reasons)]
    with _verification.Verification(
        _verify_clients.Clients(params["host"], params["timeout"], params["time_limit"], params["ca_file"]),
        _verify.ways([listener for listener, reason in listeners if not reason]),
        params["public_topics"],
        secrets.token_hex(4),
        probe,
        params["certificate_days"],
    ) as verification:
        checks = [
            *(_verify.Check(**check) for check in params["other_checks"]),
            *(_verify.unchecked(listener, reason) for listener, reason in listeners if reason),
            *verification.run(
                publishers,
                params["anonymous_topics"],
                check_publishers=params["check_publishers"],
                feed=params["feed"],
                feed_timeout=params["feed_timeout"],
                feed_max_age=params["feed_max_age"],
            ),
        ]
    for check in checks:
        if check.result == _verify.WARNING:
            module.warn(f"{check.check}: {check.cause}")
    module.exit_json(
        changed=False,
        checks=[vars(check) for check in checks],
        table=[str(check) for check in checks],
        failures=[str(check) for check in checks if check.result == _verify.FAILED],
    )


if __name__ == "__main__":
    main()
