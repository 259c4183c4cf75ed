#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_current
short_description: Have a systemd service run what is on disk
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Enables a systemd service and sees that it runs with its files as they are now. It compares times. If a file has changed since the
    service started, or since it last read it, the service is restarted or reloaded, else it is left alone.
  - Handlers do the same for the run that changed a file. This module also does it for the next one, when the run that changed the file
    was interrupted, failed before its handlers, or could not restart the service.
  - systemd reads its units anew (C(daemon-reload)) before a start or restart, and when it says itself that this one changed on disk.
  - Restarts the service if its main process executes a program or a library that was replaced or removed since the process started, for
    example by an upgrade of a package.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - Files that earlier tasks would have changed are not changed in check mode, so that what they would cause is not predicted.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The unit's name, with its suffix. It is a service, or a socket, for which O(restart_on) counts.
    type: str
    required: true
  unit:
    description:
      - The unit's file, which the caller has written to C(/etc/systemd/system).
      - If this is given, drop-ins that override what the service runs, with which files, as which user or with which privileges are an
        error. Other drop-ins, such as those with limits or environment variables, are allowed.
      - The service is restarted if its main process has another command line than that of C(ExecStart=). Do not give this for a service
        that changes its command line itself.
    type: path
    version_added: 3.0.0
  restart_on:
    description:
      - Files that the service reads when it starts. Shell patterns are expanded; what does not exist is passed over.
      - If one of them is newer than the service's main process, the service is restarted.
    type: list
    elements: path
    default: []
  reload_on:
    description:
      - Files that the service reads when it starts and when it is reloaded. Shell patterns are expanded.
      - If one of them is newer than the service's main process and than O(reload_marker), the service is reloaded.
    type: list
    elements: path
    default: []
  reload_marker:
    description:
      - A file that the unit touches in C(ExecReload=) before it tells the service to reload. systemd forgets the time of a reload with every
        C(daemon-reload), so that the unit has to keep it.
      - Required with O(reload_on).
    type: path
  settle:
    description:
      - How many seconds old the service's main process has to become without ending. If it is older already there is no wait.
    type: float
    default: 0
  status:
    description:
      - A regular expression that has to match the beginning of what the service tells systemd of itself, which C(systemctl status) shows
        behind C(Status:). A service that never gets there fails the task with its own words.
    type: str
    version_added: 2.1.0
  status_timeout:
    description: How many seconds the service has for it. With V(0) nobody asks.
    type: float
    default: 30
    version_added: 2.1.0
"""

EXAMPLES = r"""
- name: Have the broker run what is on disk
  opendev.firehose.systemd_current:
    name: mosquitto.service
    restart_on: [/etc/mosquitto/mosquitto.conf, /etc/systemd/system/mosquitto.service.d/*.conf]
    reload_on: [/etc/mosquitto/passwd, /etc/mosquitto/acl]
    reload_marker: /run/mosquitto/reloaded
  become: true

- name: Have a service run that says itself when it works
  opendev.firehose.systemd_current:
    name: germqtt.service
    restart_on: [/etc/germqtt/germqtt.conf]
    status: Gerrit connected; broker connected
  become: true
"""

RETURN = r"""
action:
  description: What was done to the service, or would be in check mode. Empty if it was up to date.
  returned: success
  type: str
  choices: ["", start, restart, reload]
  sample: reload
reasons:
  description: Why the service is restarted, apart from O(restart_on).
  returned: success
  type: list
  elements: str
  sample: ["runs files that were replaced since it started: /usr/sbin/mosquitto"]
  version_added: 3.0.0
daemon_reload:
  description: Whether systemd had to read the files of its units again.
  returned: success
  type: bool
  sample: false
  version_added: 3.0.0
enabled:
  description: Whether the service had to be enabled.
  returned: success
  type: bool
  sample: false
journal:
  description: The last lines that the service logged.
  returned: when the service does not start, restart, reload, stay up, or say what it should
  type: list
  elements: str
  sample: ["Error: Unable to create websockets listener on port 80."]
"""

import contextlib
import glob
import os
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import systemd


def newest_change(patterns: t.Iterable[str]) -> float:
    """When the newest change among the files that the patterns name was made, 0 if there is none."""
    newest = 0.0
    for path in (path for pattern in patterns for path in glob.glob(pattern)):
        # A link to nothing, or a file that goes at this moment, is passed over.
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path)
            # A file that was written aside has its time from then; the rename into its place is the change that counts.
            newest = max(newest, status.st_mtime, status.st_ctime)
    return newest


class Service:
    """A unit, asked and told through systemctl."""

    def __init__(self, module: AnsibleModule, name: str) -> None:
        self.module = module
        self.name = name

    def properties(self) -> dict[str, str]:
        return systemd.parse_properties(self.module.run_command(systemd.show(self.name), check_rc=True)[1])

    def inspect(self, properties: dict[str, str]) -> systemd.Findings:
        unit_path = self.module.run_command(list(systemd.SHOW_UNIT_PATH), check_rc=True)[1]
        return systemd.inspect({**properties, **systemd.parse_properties(unit_path)}, self.module.params["unit"])

    def tell(self, verb: str) -> None:
        code, _stdout, error = self.module.run_command(["systemctl", verb, self.name])
        if code != 0:
            self.fail(f"'systemctl {verb} {self.name}' failed", error.strip())

    def fail(self, what: str, error: str = "") -> t.NoReturn:
        journal = self.module.run_command(systemd.journal(self.name))[1].rstrip("\n").split("\n")
        self.module.fail_json(msg="\n".join([f"{what}. Its last log lines:", *journal]), journal=journal, stderr=error)

    def reload_units(self) -> None:
        self.module.run_command(["systemctl", "daemon-reload"], check_rc=True)

    def stays_up(self, seconds: float) -> None:
        """Fail unless the service's main process gets that old. One that is older already passes at once."""
        first = now = self.properties()
        started = systemd.parse_timestamp(first.get("ExecMainStartTimestamp", "")) or 0.0
        while True:
            if now["ActiveState"] not in systemd.UP or now.get("MainPID") != first.get("MainPID"):
                self.fail(f"{self.name} did not stay up for {seconds:g} seconds")
            if time.time() - started >= seconds:
                return
            time.sleep(0.5)
            now = self.properties()

    def comes_to_say(self, status: str, seconds: float) -> None:
        """Fail unless the service's status begins with what matches a regular expression, at once or after a while."""
        deadline = time.monotonic() + seconds
        while not re.match(status, said := self.properties().get("StatusText", "")):
            if time.monotonic() > deadline:
                self.fail(
                    f"{self.name} does not work, {seconds:g} seconds after it was looked at first. It says: {said or 'nothing'}"
                )
            time.sleep(0.5)


def make_module() -> AnsibleModule:
    """The module with its parameters, which are checked."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "unit": {"type": "path"},
            "restart_on": {"type": "list", "elements": "path", "default": []},
            "reload_on": {"type": "list", "elements": "path", "default": []},
            "reload_marker": {"type": "path"},
            "settle": {"type": "float", "default": 0},
            "status": {"type": "str"},
            "status_timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    if module.params["reload_on"] and not module.params["reload_marker"]:
        module.fail_json(msg="reload_on needs reload_marker")
    try:
        re.compile(module.params["status"] or "")
    except re.error as exc:
        module.fail_json(msg=f"status: {module.params['status']!r} is not a regular expression: {exc}")
    return module


def loaded(service: Service) -> dict[str, str]:
    """The properties of a unit that systemd has read, or that an earlier task would have written."""
    module = service.module
    if module.check_mode and not os.path.isdir(systemd.BOOTED):
        return {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
    before = service.properties()
    if before["LoadState"] != "loaded" and not module.check_mode:
        # What systemd found wrong with an earlier unit file, it holds against the one that stands there now.
        service.reload_units()
        before = service.properties()
    # In check mode the task that writes the unit has not written it.
    if before["LoadState"] != "loaded" and not (module.check_mode and before["LoadState"] == "not-found"):
        module.fail_json(msg=f"{service.name} cannot be used: systemd says {before['LoadState']!r} of its unit")
    return before


def main() -> t.NoReturn:
    module = make_module()
    service = Service(module, module.params["name"])
    before = loaded(service)
    findings = service.inspect(before) if "Names" in before else systemd.Findings([], is_stale=False, reasons=[])
    if findings.conflicts:
        module.fail_json(msg=f"{service.name} cannot be used: {'; '.join(findings.conflicts)}")
    enable = before["UnitFileState"] in ("", "disabled", "enabled-runtime")
    action = systemd.needed_action(
        before,
        restart_files_changed=newest_change(module.params["restart_on"]),
        reload_files_changed=newest_change(module.params["reload_on"]),
        last_read=newest_change([module.params["reload_marker"]] if module.params["reload_marker"] else []),
    )
    if findings.reasons and action != "start":
        action = "restart"
    if not module.check_mode:
        # systemd does not notice a unit that takes another one's place, so that its own word is not enough.
        if action in ("start", "restart") or findings.is_stale:
            service.reload_units()
        if enable:
            service.tell("enable")
        if action:
            # A unit that waits for its next automatic restart is started by 'restart', not by 'start'.
            service.tell("restart" if action == "start" else action)
        service.stays_up(module.params["settle"])
        if module.params["status"] and module.params["status_timeout"] > 0:
            service.comes_to_say(module.params["status"], module.params["status_timeout"])

    was = systemd.state(action, findings.reasons, is_stale=findings.is_stale)
    module.exit_json(
        changed=enable or bool(action) or findings.is_stale,
        action=action,
        reasons=findings.reasons,
        daemon_reload=findings.is_stale,
        enabled=enable,
        diff={
            "before": f"{'disabled' if enable else 'enabled'}, {was}\n",
            "after": "enabled, up to date\n",
            "before_header": service.name,
            "after_header": service.name,
        },
    )


if __name__ == "__main__":
    main()
