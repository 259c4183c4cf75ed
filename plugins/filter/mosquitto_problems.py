# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_problems
short_description: Say what is wrong with the variables of the role mosquitto
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Lists everything that would make the broker refuse its files, or read them as something else than what was asked for.
  - The role P(opendev.firehose.mosquitto#role) calls it before it changes anything.
options:
  _input:
    description: A dictionary of the variables of the role that are checked, by their names.
    type: dict
    required: true
  version:
    description: The version of the Debian package. If empty, what depends on the version is not checked.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Refuse values that contradict each other
  ansible.builtin.assert:
    that: __problems | length == 0
    fail_msg: "{{ __problems | join('\\n') }}"
  vars:
    __problems: "{{ {'mosquitto_listeners': mosquitto_listeners} | opendev.firehose.mosquitto_problems('2.0.21-1') }}"
"""

RETURN = r"""
_value:
  description: One line for each problem, which names the variable. Empty if all is well.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_problems": _mosquitto.problems}
