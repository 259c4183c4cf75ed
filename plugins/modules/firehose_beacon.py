#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firehose_beacon
short_description: Publish on a firehose, from its host, what M(opendev.firehose.firehose_verify) goes by
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Starts a process on the firehose's host, and returns when it works. It logs in at the broker and publishes a numbered message four times a
    second, in which it says what of the verification has reached it. M(opendev.firehose.firehose_verify) sees there who would have got what.
  - As each of O(publishers) it publishes a message of theirs every 5 seconds.
  - The process ends with O(state=absent), with its session, for example when its account is removed and the broker is reloaded, and after
    O(time_limit). It writes no file, and nobody sees a password among the host's processes.
  - It is made for the entry point C(verify) of the role P(opendev.firehose.firehose#role).
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode no process is started or ended.
  diff_mode:
    support: N/A
    details:
      - What runs for the time being is no change of the host.
  idempotent:
    support: N/A
    details:
      - Each run of O(state=present) starts a process.
options:
  run:
    description: What this run of the verification is called, with 8 small letters and digits at most. The process is called C(beacon-) and this.
    type: str
    required: true
  state:
    description: Whether there is such a process.
    type: str
    choices: [present, absent]
    default: present
  endpoint:
    description: Where the host itself reaches the broker. Needed for O(state=present).
    type: dict
    suboptions:
      host:
        description: The name or the address.
        type: str
        default: localhost
      port:
        description: The TCP port. One of this and O(endpoint.socket) is needed.
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
        description: Whether it speaks TLS.
        type: bool
        default: false
      ca_file:
        description: The certificates that the broker's is checked against. Without, it is not checked.
        type: path
  name:
    description: An account that may write O(topic) and read O(watched).
    type: str
  password:
    description: Its password.
    type: str
  topic:
    description: Where it publishes.
    type: str
  watched:
    description: The topics of which it says what came. O(topic) is added to them.
    type: list
    elements: str
    default: []
  publishers:
    description: Who else publishes.
    type: list
    elements: dict
    default: []
    suboptions:
      number:
        description: Its place in O(opendev.firehose.firehose_verify#module:publishers), from 0 on.
        type: int
        required: true
      name:
        description: The account's name.
        type: str
        required: true
      password:
        description: The account's password.
        type: str
        required: true
      topic:
        description: A topic that it may write.
        type: str
        required: true
  claimed:
    description: Names of accounts that it tries to log in with beforehand, without a password, with an empty one, and with a wrong one.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds a connection or an answer may take.
    type: float
    default: 10
  time_limit:
    description: After how many seconds the process ends.
    type: float
    default: 600
"""

EXAMPLES = r"""
- name: Start the reference publisher
  opendev.firehose.firehose_beacon:
    run: 1f2e3d4c
    endpoint:
      host: 127.0.0.1
      port: 1884
    name: beacon
    password: "{{ vault_beacon_mqtt_password }}"
    topic: firehose/verify/1f2e3d4c/beacon
    watched: [firehose/verify/1f2e3d4c/anonymous]

- name: End it
  opendev.firehose.firehose_beacon:
    run: 1f2e3d4c
    state: absent
"""

RETURN = r"""
problem:
  description: Why there is no such process, empty if there is one.
  returned: success
  type: str
  sample: "127.0.0.1 port 1884: the broker does not let this client in: not authorized (return code 5)"
others:
  description: The other runs that have a process on this host.
  returned: O(state=absent), and not in check mode
  type: list
  elements: str
  sample: [9a8b7c6d]
let_in:
  description: With which of O(claimed) that worked, and how.
  returned: O(state=present), and not in check mode
  type: list
  elements: str
  sample: ["'zuul' with no password"]
"""

import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import detached, quiet
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, topic_filters
from ansible_collections.opendev.firehose.plugins.module_utils._verify import reference_publisher

PREFIX = "beacon-"

ARGUMENT_SPEC: dict[str, t.Any] = {
    "run": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "endpoint": {
        "type": "dict",
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
    "name": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "topic": {"type": "str"},
    "watched": {"type": "list", "elements": "str", "default": []},
    "publishers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "number": {"type": "int", "required": True},
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "topic": {"type": "str", "required": True},
        },
    },
    "claimed": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 10},
    "time_limit": {"type": "float", "default": 600},
}


def problems(params: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the options, so that there is no need to try."""
    longest = detached.LONGEST_NAME - len(PREFIX)
    found = [client_options.seconds_problem(name, params[name]) for name in ("timeout", "time_limit")]
    if not re.fullmatch(rf"[a-z0-9]{{1,{longest}}}", params["run"]):
        found.append(f"run: {params['run']!r} is no name of up to {longest} small letters and digits")
    if params["topic"] is not None:
        found.append(client_options.topic_problem(params["topic"]))
    if params["endpoint"] and params["endpoint"]["port"] is not None:
        found.append(client_options.port_problem("endpoint.port", params["endpoint"]["port"]))
    for index, watched in enumerate(params["watched"]):
        problem = topic_filters.filter_problem(watched)
        found.append(problem and f"watched[{index}]: {problem}")
    texts = {name: params[name] for name in ("name", "password")}
    for index, publisher in enumerate(params["publishers"]):
        texts.update({f"publishers[{index}].{name}": publisher[name] for name in ("name", "password")})
        problem = client_options.topic_problem(publisher["topic"])
        found.append(problem and f"publishers[{index}].topic: {problem}")
    texts.update({f"claimed[{index}]": name for index, name in enumerate(params["claimed"])})
    found += client_options.text_problems(texts)
    return [problem for problem in found if problem]


def beacon(params: t.Mapping[str, t.Any]) -> reference_publisher.Beacon:
    """What the process does."""
    return reference_publisher.Beacon(
        params["endpoint"],
        (params["name"], params["password"]),
        params["run"],
        params["topic"],
        [*dict.fromkeys([params["topic"], *params["watched"]])],
        [reference_publisher.Publisher(**publisher) for publisher in params["publishers"]],
        params["timeout"],
        params["time_limit"],
    )


def main() -> t.NoReturn:
    module = quiet.QuietModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "present", ["endpoint", "name", "password", "topic"])],
        supports_check_mode=True,
    )
    params = module.params
    wrong = problems(params)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    name, said, found = PREFIX + params["run"], detached.READY, {}
    if not module.check_mode and params["state"] == "absent":
        detached.end(name)
        found["others"] = sorted({other[len(PREFIX) :] for _pid, other in detached.running(PREFIX)} - {params["run"]})
    elif not module.check_mode:
        found["let_in"] = reference_publisher.let_in(params["endpoint"], params["claimed"], params["timeout"])
        # Connecting, logging in, subscribing, and the first message that comes back: each may take its time.
        said = detached.start(name, beacon(params).work, params["timeout"] * 4)
    module.exit_json(changed=False, problem="" if said == detached.READY else said, **found)


if __name__ == "__main__":
    main()
