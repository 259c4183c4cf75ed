#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ports_validate
short_description: Validate that the ports of listeners are free
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Binds each port for a moment, and fails if the host does not have the address, or if another program listens there.
  - It is made for the roles of this collection.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  listeners:
    description: The listeners.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: The TCP port.
        type: int
        required: true
      bind_address:
        description: The address. Empty, it is every address.
        type: str
        default: ""
      variable:
        description: The name of the variable that a message has.
        type: str
        required: true
  units:
    description: The systemd units, services and sockets, that may have the ports open already.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Validate that a port is free, unless the firehose itself listens there
  opendev.firehose.ports_validate:
    listeners:
      - port: 18883
        variable: firehose_listeners
    units: [firehose-haproxy.socket]
  become: true
"""

RETURN = r"""
own_ports:
  description: The ports that the units have open already.
  returned: success
  type: list
  elements: int
  sample: [1883]
"""

import functools
import os
import pathlib
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import free_ports, quiet

LISTENER = {**free_ports.LISTENER, "variable": {"type": "str", "required": True}}


def unit_of(pid: int) -> str:
    """The service of a process, empty if that has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.rpartition("/")[2].strip()


def is_systemd(pid: int) -> bool:
    """Whether a process is systemd, or a copy of it that is about to start or to clean up a service, or has ended by now."""
    try:
        return os.readlink(f"/proc/{pid}/exe") == os.readlink("/proc/1/exe")
    except OSError:
        return True


class Host:
    """What listens on the host."""

    def __init__(self, module: quiet.QuietModule) -> None:
        self.module = module

    def holders(self, port: int) -> dict[int, str]:
        # Not every host has iproute2 yet.
        if not self.module.get_bin_path("ss"):
            return {}
        return free_ports.holders(self.module.run_command(free_ports.show(port))[1])

    def active(self, units: t.Sequence[str]) -> dict[str, set[int]]:
        """Those of the units that are active, with the ports that systemd keeps open for sockets."""
        if not units or not self.module.get_bin_path("systemctl"):
            return {}
        command = ["systemctl", "show", "--property=Id,ActiveState,Listen", *units]
        # A paragraph a unit
        paragraphs = self.module.run_command(command)[1].split("\n\n")
        return {
            name[1]: {int(port) for port in re.findall(r"^Listen=\S*?([0-9]+) \(Stream\)", text, re.MULTILINE)}
            for text in paragraphs
            if "ActiveState=active" in text and (name := re.search(r"^Id=(\S+)$", text, re.MULTILINE))
        }


def is_own(port: int, programs: t.Iterable[int], units: t.Mapping[str, set[int]]) -> bool:
    """Whether only active units have a port open, given the process ids of the programs that listen there."""
    held = any(port in ports for ports in units.values())
    # For a moment each service that systemd starts has what systemd holds.
    others = {pid for pid in programs if not (held and is_systemd(pid))}
    if others:
        return {unit_of(pid) for pid in others} <= units.keys()
    # In some containers root does not see which program it is.
    return held or any(unit.endswith(".service") for unit in units)


def main() -> t.NoReturn:
    module = quiet.QuietModule(
        argument_spec={
            "listeners": {"type": "list", "elements": "dict", "required": True, "options": LISTENER},
            "units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    units = host.active(module.params["units"])
    holders = functools.lru_cache(maxsize=None)(host.holders)
    own, found = [], []
    for listener in module.params["listeners"]:
        address, port = listener["bind_address"], listener["port"]
        try:
            problem = free_ports.problem(address, port, holders)
            if problem and is_own(port, holders(port), units):
                own.append(port)
                problem = free_ports.problem(address, 0, holders)
        except OSError as exc:
            problem = exc.strerror
        if problem:
            place = f"port {port}{f' of {address}' if address else ''}"
            found.append(f"{listener['variable']}: {place}: {problem}")
    if found:
        module.fail_json(msg="\n".join(found))
    module.exit_json(changed=False, own_ports=own)


if __name__ == "__main__":
    main()
