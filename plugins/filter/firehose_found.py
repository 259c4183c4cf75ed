# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_found
short_description: Say who may publish by what is on the host
version_added: 2.1.0
author: the opendev.firehose authors (@opendev)
description:
  - Adds to a firehose's publishers whoever else has an account on its host, with the topics that it may write, for the module
    M(opendev.firehose.firehose_verify).
options:
  _input:
    description: The publishers, as the variable C(firehose_publishers) of the role P(opendev.firehose.firehose#role) has them.
    type: list
    elements: dict
    required: true
  accounts:
    description: What M(opendev.firehose.mosquitto_users_info) has returned.
    type: dict
    required: true
  rules:
    description: What M(opendev.firehose.mosquitto_acls_info) has returned.
    type: dict
    required: true
  public_rules:
    description: What M(opendev.firehose.mosquitto_acls_info) has returned for the broker that serves the public.
    type: dict
    required: true
    version_added: 3.0.0
positional: accounts, rules, public_rules
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ firehose_publishers | opendev.firehose.firehose_found(accounts, rules, public_rules) }}"
  vars:
    accounts:
      users:
        - name: wiki
    rules:
      anonymous: []
      users:
        - name: wiki
          rules:
            - topic: wiki/#
              access: write
      patterns: []
    public_rules:
      anonymous:
        - topic: "#"
          access: read
      patterns: []
"""

RETURN = r"""
_value:
  description: The publishers, also those that are only on the host, and the topic filters that clients without a name may write.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_found": _firehose.found}
