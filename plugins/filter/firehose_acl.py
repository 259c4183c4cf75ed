# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_acl
short_description: Make Mosquitto's access rules out of publishers and readers
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - A publisher writes its own topics, a reader and the public read theirs and their leaves of C($SYS).
positional: readers, public_topics, public_sys, private
options:
  _input:
    description: The publishers of a firehose.
    type: list
    elements: dict
    required: true
  readers:
    description: The readers of the firehose.
    type: list
    elements: dict
    required: true
  public_topics:
    description: The topic filters that clients without a name may read. Required before version 3.0.0.
    type: list
    elements: str
    default: []
  public_sys:
    description: What these may read below C($SYS/).
    type: list
    elements: str
    default: []
    version_added: 3.0.0
  private:
    description: The topic that a publisher both writes and reads, by the publisher's name.
    type: dict
    default: {}
    version_added: 3.0.0
"""

EXAMPLES = r"""
- name: Show the rules
  ansible.builtin.debug:
    msg: "{{ firehose_publishers | opendev.firehose.firehose_acl(firehose_readers, ['#']) }}"
"""

RETURN = r"""
_value:
  description: The rules, as the variable C(mosquitto_acl) of the role P(opendev.firehose.mosquitto#role) takes them.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_acl": _firehose.acl}
