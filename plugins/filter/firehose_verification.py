# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_verification
short_description: Tell what is verified at a firehose
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - For role P(opendev.firehose.firehose#role). Gives options of M(opendev.firehose.firehose_verify), M(opendev.firehose.firehose_beacon) and
    M(opendev.firehose.tls_served).
options:
  _input:
    description: The publishers, as the variable C(firehose_publishers) of the role P(opendev.firehose.firehose#role) has them.
    type: list
    elements: dict
    required: true
  run:
    description: The name of the run.
    type: str
    required: true
  accounts:
    description: What M(opendev.firehose.mosquitto_users_info) has returned.
    type: dict
    required: true
  rules:
    description: What M(opendev.firehose.mosquitto_acls_info) has returned for the accounts broker.
    type: dict
    required: true
  public_rules:
    description: What M(opendev.firehose.mosquitto_acls_info) has returned for a public broker.
    type: dict
    required: true
  public_topics:
    description: The topic filters that anonymous clients may read.
    type: list
    elements: str
    required: true
  listeners:
    description:
      - The listeners for anonymous clients, as the variable C(firehose_listeners) of the role P(opendev.firehose.firehose_public#role) has them.
    type: list
    elements: dict
    required: true
  account_listeners:
    description: The listeners for accounts, as the variable C(firehose_account_listeners) of the role P(opendev.firehose.firehose#role) has them.
    type: list
    elements: dict
    required: true
  publish:
    description: Whether publishers publish. Those with a password do.
    type: bool
    default: false
positional: run, accounts, rules, public_rules, public_topics, listeners, account_listeners, publish
"""

EXAMPLES = r"""
- name: Show who may publish
  ansible.builtin.debug:
    msg: >-
      {{ (firehose_publishers | opendev.firehose.firehose_verification(
            '1f2e3d4c', accounts, rules, public_rules, ['#'], [{'port': 1883}], [{'port': 1884}])).publishers }}
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
  description: The options, without secrets but for C(beacon).
  type: dict
  contains:
    publishers:
      description: The publishers, and the other accounts of the host, with the topic filters that each may write.
      type: list
      elements: dict
    anonymous_topics:
      description: The topic filters that anonymous clients may write.
      type: list
      elements: str
    beacon:
      description:
        - The options O(opendev.firehose.firehose_beacon#module:topic), O(opendev.firehose.firehose_beacon#module:watched),
          O(opendev.firehose.firehose_beacon#module:publishers) and O(opendev.firehose.firehose_beacon#module:endpoint). The endpoint is the first
          listener for accounts that needs neither a certificate of clients, nor pre-shared keys, nor the PROXY protocol, or none.
      type: dict
    listeners:
      description:
        - The listeners for anonymous clients that other hosts reach. Each has C(port), C(protocol), C(tls), C(address), if it is bound to one, and
          C(not_checked), if it is not checked, with the reason.
      type: list
      elements: dict
    account_listeners:
      description: Those for accounts.
      type: list
      elements: dict
    certificates:
      description: The certificates of all listeners, as M(opendev.firehose.tls_served) takes them.
      type: list
      elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_verification


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_verification": _firehose_verification.verification}
