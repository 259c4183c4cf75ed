# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_beacon
short_description: Say what is published on a firehose while it is verified, and where
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the options O(opendev.firehose.firehose_beacon#module:endpoint), O(opendev.firehose.firehose_beacon#module:topic),
    O(opendev.firehose.firehose_beacon#module:watched) and O(opendev.firehose.firehose_beacon#module:publishers) that fit what
    M(opendev.firehose.firehose_verify) tries.
options:
  _input:
    description: What the filter P(opendev.firehose.firehose_found#filter) has given.
    type: dict
    required: true
  run:
    description: What the run is called.
    type: str
    required: true
  public_topics:
    description: The topic filters that anyone may read.
    type: list
    elements: str
    required: true
  listeners:
    description:
      - The listeners, as the variable C(firehose_account_listeners) of the role P(opendev.firehose.firehose#role) has them. The endpoint is the first that
        needs neither a certificate of clients, nor pre-shared keys, nor the PROXY protocol.
    type: list
    elements: dict
    required: true
  publishers:
    description: The publishers, as the variable C(firehose_publishers) has them. Those with a password publish.
    type: list
    elements: dict
    default: []
positional: run, public_topics, listeners, publishers
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ found | opendev.firehose.firehose_beacon('1f2e3d4c', ['#'], [{'port': 1884}]) }}"
  vars:
    found:
      publishers:
        - name: wiki
          topics: [wiki/#]
      anonymous_topics: []
"""

RETURN = r"""
_value:
  description: The options by their names. The endpoint is none if there is no such listener.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_beacon": _firehose.beacon}
