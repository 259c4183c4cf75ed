#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firehose_verify
short_description: Verify the promises of a firehose
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Connects to a live firehose as the public does, and tries out what it may and may not do. Where the module runs is where the public is.
  - Every listener has to accept anonymous clients, with MQTT 3.1.1 and 5, and all of them have to deliver the same message.
  - Anonymous clients, and clients that claim a publisher's name without knowing its password, try to publish in every way there is.
    Acknowledgements prove nothing, so that subscribers decide, who would have got it.
  - What is published has topics of its own wherever the rights of an account leave room for that, and says in its payload what it is.
    A retained message that gets through is taken back.
  - It knows no password. Who may publish does so on the firehose's host, with M(opendev.firehose.firehose_beacon), so that no listener for the
    public has to let an account in.
  - Nothing else changes. One connection to each listener stays open, and two more come and go.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is published. What remains is that listeners accept anonymous clients, that C($SYS) is closed, and that the feed is fresh.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
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
    suboptions: &listener
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
  account_listeners:
    description:
      - Listeners for accounts, with the same suboptions as O(listeners). They have to turn the public away. One that does not answer where the
        module runs is listed as not checked.
    type: list
    elements: dict
    default: []
    suboptions: *listener
    version_added: 3.0.0
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
  beacon:
    description:
      - What M(opendev.firehose.firehose_beacon) does on the firehose's host in the meantime. The others' silence is measured by it, and it says what
        reached an account that may read what the public may not.
      - Without it, nothing is published, and what takes publishing is not checked.
    type: dict
    version_added: 3.0.0
    suboptions:
      run:
        description: What this run of the verification is called there.
        type: str
        required: true
      problem:
        description: Why it does not work, if it does not.
        type: str
        default: ""
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
      publishes:
        description: Whether M(opendev.firehose.firehose_beacon) publishes as this account. It counts with O(check_publishers=true) only.
        type: bool
        default: false
        version_added: 3.0.0
      state:
        description: Absent accounts are passed over.
        type: str
        choices: [present, absent]
        default: present
  anonymous_topics:
    description: Topic filters that anonymous clients try to write beside all others, one topic of each.
    type: list
    elements: str
    default: []
    version_added: 2.1.0
  public_topics:
    description:
      - The topic filters that anyone may read. What is published elsewhere only O(beacon) has to see.
      - C($SYS) has to be closed but for what is listed here, from C($SYS/) on.
    type: list
    elements: str
    default: ["#"]
  check_publishers:
    description:
      - Whether what each of O(publishers) publishes has to arrive too. Those whose password is not known are listed as not checked.
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
    default: 600
    version_added: 2.1.0
"""

EXAMPLES = r"""
- name: Start the reference publisher
  opendev.firehose.firehose_beacon:
    run: 1f2e3d4c
    endpoint:
      host: 127.0.0.1
      port: 1883
    name: beacon
    password: "{{ vault_beacon_mqtt_password }}"
    topic: firehose/verify/1f2e3d4c/beacon
    watched: [firehose/verify/1f2e3d4c/anonymous, zuul/firehose-verify-1f2e3d4c]
  register: beacon

- name: Verify from the outside what the public may do
  opendev.firehose.firehose_verify:
    host: firehose01.example.org
    beacon:
      run: 1f2e3d4c
      problem: "{{ beacon.problem }}"
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

from ansible_collections.opendev.firehose.plugins.module_utils._host import quiet
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options
from ansible_collections.opendev.firehose.plugins.module_utils._verify import plan, sessions, verifier

LISTENER_SPEC: dict[str, t.Any] = {
    "port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["mqtt", "websockets"], "default": "mqtt"},
    "tls": {"type": "bool", "default": False},
    "address": {"type": "str"},
    "not_checked": {"type": "str"},
}
ARGUMENT_SPEC: dict[str, t.Any] = {
    "host": {"type": "str", "required": True},
    "listeners": {
        "type": "list",
        "elements": "dict",
        "default": [{"port": 1883}, {"port": 80, "protocol": "websockets"}],
        "options": LISTENER_SPEC,
    },
    "account_listeners": {"type": "list", "elements": "dict", "default": [], "options": LISTENER_SPEC},
    "ca_file": {"type": "path"},
    "certificate_days": {"type": "int", "default": 14},
    "beacon": {
        "type": "dict",
        "options": {"run": {"type": "str", "required": True}, "problem": {"type": "str", "default": ""}},
    },
    "publishers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "topics": {"type": "list", "elements": "str", "default": []},
            "publishes": {"type": "bool", "default": False},
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
                "choices": [plan.PASSED, plan.WARNING, plan.FAILED, plan.NOT_CHECKED],
                "required": True,
            },
            "cause": {"type": "str", "default": ""},
        },
    },
    "time_limit": {"type": "float", "default": 600},
}


def problems(params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the options, so that there is no need to try."""
    found = [] if params["host"].strip() else ["host is empty"]
    ports = (
        client_options.port_problem(f"{name}[{index}].port", listener["port"])
        for name in ("listeners", "account_listeners")
        for index, listener in enumerate(params[name])
    )
    times = ("feed_timeout", "feed_max_age", "timeout", "time_limit")
    texts = {"feed": params["feed"]}
    lists = {name: params[name] for name in ("anonymous_topics", "public_topics")}
    for index, publisher in enumerate(params["publishers"]):
        texts[f"publishers[{index}].name"] = publisher["name"]
        lists[f"publishers[{index}].topics"] = publisher["topics"]
    texts.update({f"{name}[{index}]": text for name, some in lists.items() for index, text in enumerate(some)})
    return [
        *found,
        *filter(None, ports),
        *filter(None, (client_options.seconds_problem(name, params[name]) for name in times)),
        *client_options.text_problems(texts),
    ]


def main() -> t.NoReturn:
    module = quiet.QuietModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    wrong = problems(params)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    beacon = params["beacon"] or {"run": secrets.token_hex(4), "problem": ""}
    present = [publisher for publisher in params["publishers"] if publisher["state"] == "present"]
    publishers = [plan.Publisher.from_option(publisher) for publisher in present]
    reasons = [sessions.why_not_checked(params["host"], listener) for listener in params["listeners"]]
    listeners = [*zip(params["listeners"], reasons)]
    account_listeners = [
        listener for listener in params["account_listeners"] if not sessions.why_not_checked(params["host"], listener)
    ]
    with verifier.Verification(
        sessions.Clients(params["host"], params["timeout"], params["time_limit"], params["ca_file"]),
        plan.ways([listener for listener, reason in listeners if not reason]),
        params["public_topics"],
        beacon["run"],
        beacon["problem"] or None,
        params["certificate_days"],
    ) as verification:
        checks = [
            *(plan.Check(**check) for check in params["other_checks"]),
            *(plan.unchecked(listener, reason) for listener, reason in listeners if reason),
            *verification.closed(plan.ways(account_listeners)),
            *verification.run(
                publishers,
                params["anonymous_topics"],
                publish=bool(params["beacon"]) and not module.check_mode,
                check_publishers=params["check_publishers"],
                feed=params["feed"],
                feed_timeout=params["feed_timeout"],
                feed_max_age=params["feed_max_age"],
            ),
        ]
    for check in checks:
        if check.result == plan.WARNING:
            module.warn(f"{check.check}: {check.cause}")
    module.exit_json(
        changed=False,
        checks=[vars(check) for check in checks],
        table=[str(check) for check in checks],
        failures=[str(check) for check in checks if check.result == plan.FAILED],
    )


if __name__ == "__main__":
    main()
