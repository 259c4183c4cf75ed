#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_apply
short_description: Have Mosquitto brokers run what is in their files
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Runs the command C(mosquitto-apply), which the role P(opendev.firehose.mosquitto#role) installs, for one broker instance after the other.
  - The command takes C(mosquitto.conf) and all files that it names as one set. A trial broker loads the set first. Then the command
    installs the set all at once, and reloads or restarts the broker. At the end each listener must answer, and must deny what the
    files deny.
  - If any of this fails, the broker keeps the set that it had, or gets it back, and the module fails with the cause. It leaves the brokers behind
    that one in O(instances) as they are.
  - Does nothing if the broker runs what is in the files, its listeners answer, and it executes the installed program and libraries.
  - Fails if a drop-in of the unit overrides what the broker runs, as which user or with which privileges.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - Files that earlier tasks would have changed are not changed in check mode, so that what they would cause is not predicted. Nothing
        is tried out.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  instances:
    description:
      - The names of the broker instances, in this order. V(public) is the unit C(mosquitto@public.service) with
        C(/etc/mosquitto-public/mosquitto.conf).
      - The empty name is the unit C(mosquitto.service) with C(/etc/mosquitto/mosquitto.conf).
    type: list
    elements: str
    default: [""]
  put_back:
    description:
      - Whether to replace files that a broker cannot run with by those that it runs with, and so for all brokers that follow in O(instances).
      - Files outside of the broker's own directory are left alone.
    type: bool
    default: false
  timeout:
    description: How many seconds the listeners have until all of them answer.
    type: float
    default: 10
  program:
    description: The command.
    type: path
    default: /usr/local/sbin/mosquitto-apply
"""

EXAMPLES = r"""
- name: Reload or restart Debian's own broker, if its files have changed
  opendev.firehose.mosquitto_apply:
  become: true
"""

RETURN = r"""
brokers:
  description: What was done, or would be in check mode, for each broker.
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: The name of the broker instance.
      type: str
      sample: public
    action:
      description: What was done to the service. Empty if it was up to date.
      type: str
      choices: ["", start, restart, reload]
      sample: reload
    installed:
      description: Whether a new set of files was installed.
      type: bool
      sample: true
    daemon_reload:
      description: Whether systemd had to read the files of its units again.
      type: bool
      sample: false
    reasons:
      description: Why the broker is restarted, apart from its files.
      type: list
      elements: str
      sample: ["runs files that were replaced since it started: /usr/sbin/mosquitto"]
    enabled:
      description: Whether the service had to be enabled.
      type: bool
      sample: false
    problem:
      description: What is pending, in a few words. Empty if the broker was up to date.
      type: str
      sample: disabled, stopped
"""

import json
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import systemd

Answer = t.Dict[str, t.Any]  # noqa: UP006 # it runs, and Python 3.8 has no other


def run(module: AnsibleModule, instance: str, *options: str) -> Answer:
    """Run the command for one broker, and return what it says."""
    program = module.params["program"]
    command = [program, "--json", f"--timeout={module.params['timeout']:g}", *options, *filter(None, [instance])]
    _code, output, error = module.run_command(command)
    try:
        return json.loads(output)
    except ValueError:
        return {"problem": f"{program} did not do its work: {error.strip() or output.strip()}"}


def apply(module: AnsibleModule, instance: str) -> Answer:
    """Bring one broker up to date, and return what the command says."""
    if module.check_mode and not os.path.exists(module.params["program"]):
        # An earlier task would have installed it.
        return {"action": "start", "installed": True, "enabled": True}
    options = ["--check"] if module.check_mode else []
    return run(module, instance, *options, *(["--put-back"] if module.params["put_back"] else []))


def put_back(module: AnsibleModule, instances: t.Iterable[str]) -> list[str]:
    """Put back the files of brokers that nothing was done for yet, if asked to; return what the command says of them."""
    if module.check_mode or not module.params["put_back"]:
        return []
    answers = [(instance, run(module, instance, "--only-put-back")) for instance in instances]
    return [f"{instance or 'mosquitto'}: {answer.get('problem') or answer['told']}" for instance, answer in answers]


def pending(answer: Answer) -> str:
    """What was pending, in a few words."""
    if not is_changed(answer):
        return ""
    was = systemd.state(answer["action"], answer["reasons"], is_stale=answer["daemon_reload"])
    if not answer["action"] and answer["installed"]:
        was = "has other files"
    return f"{'disabled' if answer['enabled'] else 'enabled'}, {was}"


def is_changed(answer: Answer) -> bool:
    """Whether anything was, or would be, done."""
    return bool(answer["action"]) or answer["installed"] or answer["enabled"] or answer["daemon_reload"]


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "str", "default": [""]},
            "put_back": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 10},
            "program": {"type": "path", "default": "/usr/local/sbin/mosquitto-apply"},
        },
        supports_check_mode=True,
    )
    instances = module.params["instances"]
    brokers: list[Answer] = []
    for number, instance in enumerate(instances):
        answer = apply(module, instance)
        if "problem" in answer:
            told = put_back(module, instances[number + 1 :])
            module.fail_json(msg="\n".join([answer["problem"], *told]), changed=any(map(is_changed, brokers)))
        for warning in answer.pop("warnings", []):
            module.warn(warning)
        # Programs of earlier versions do not tell the first two.
        answer = {"reasons": [], "daemon_reload": False, **answer}
        brokers.append({"instance": instance, **answer, "problem": pending(answer)})
    module.exit_json(
        changed=any(map(is_changed, brokers)),
        brokers=brokers,
        diff=[
            {
                "before": f"{broker['problem'] or 'enabled, up to date'}\n",
                "after": "enabled, up to date\n",
                "before_header": f"mosquitto {broker['instance']}".strip(),
                "after_header": f"mosquitto {broker['instance']}".strip(),
            }
            for broker in brokers
        ],
    )


if __name__ == "__main__":
    main()
