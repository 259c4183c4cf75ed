#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_apply
short_description: Bring the files of a Mosquitto to the broker at work
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Runs the command C(mosquitto-apply), which the role P(opendev.firehose.mosquitto#role) installs. It takes C(mosquitto.conf) and all files that
    this names as one set, has a broker beside the one at work try them out, puts them in place all at once, reloads or restarts, and asks
    every listener whether it serves, and lets nobody publish who may not.
  - If any of this fails, the broker at work goes on with the set that it had, or gets it back, and the module fails with the cause.
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
  instance:
    description:
      - The name of the broker's instance. V(public) is the unit C(mosquitto@public.service) with C(/etc/mosquitto-public/mosquitto.conf).
      - Empty is the unit C(mosquitto.service) with C(/etc/mosquitto/mosquitto.conf).
    type: str
    default: ""
  put_back:
    description: Whether files that the broker cannot take are replaced by those that it runs with. It leaves alone what is not below C(/etc/mosquitto).
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
- name: Have the broker take over its files
  opendev.firehose.mosquitto_apply:
  become: true
"""

RETURN = r"""
action:
  description: What was done to the service, or would be in check mode. Empty if it was in step.
  returned: success
  type: str
  choices: ["", start, restart, reload]
  sample: reload
installed:
  description: Whether a new set of files was put in place.
  returned: success
  type: bool
  sample: true
daemon_reload:
  description: Whether systemd had to read the files of its units again.
  returned: success
  type: bool
  sample: false
reasons:
  description: Why the broker is restarted, apart from its files.
  returned: success
  type: list
  elements: str
  sample: ["runs files that were replaced since it started: /usr/sbin/mosquitto"]
enabled:
  description: Whether the service had to be enabled.
  returned: success
  type: bool
  sample: false
"""

import json
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils import _systemd


def apply(module: AnsibleModule) -> dict[str, t.Any]:
    """Run the command, and return what it says."""
    if module.check_mode and not os.path.exists(module.params["program"]):
        # An earlier task would have installed it.
        return {"action": "start", "installed": True, "enabled": False}
    command = [module.params["program"], "--json", f"--timeout={module.params['timeout']:g}"]
    command += ["--check"] if module.check_mode else []
    command += ["--put-back"] if module.params["put_back"] else []
    command += [module.params["instance"]] if module.params["instance"] else []
    _code, output, error = module.run_command(command)
    try:
        answer = json.loads(output)
    except ValueError:
        module.fail_json(msg=f"{module.params['program']} did not do its work: {error.strip() or output.strip()}")
    if "problem" in answer:
        module.fail_json(msg=answer["problem"])
    return answer


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "put_back": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 10},
            "program": {"type": "path", "default": "/usr/local/sbin/mosquitto-apply"},
        },
        supports_check_mode=True,
    )
    # Programs of earlier versions do not tell the first two.
    answer = {"reasons": [], "daemon_reload": False, **apply(module)}
    was = _systemd.state(answer["action"], answer["reasons"], is_stale=answer["daemon_reload"])
    if not answer["action"] and answer["installed"]:
        was = "has other files"
    module.exit_json(
        changed=bool(answer["action"]) or answer["installed"] or answer["enabled"] or answer["daemon_reload"],
        diff={
            "before": f"{'disabled' if answer['enabled'] else 'enabled'}, {was}\n",
            "after": "enabled, in step\n",
            "before_header": f"mosquitto {module.params['instance']}".strip(),
            "after_header": f"mosquitto {module.params['instance']}".strip(),
        },
        **answer,
    )


if __name__ == "__main__":
    main()
