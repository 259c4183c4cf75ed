# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_policy
short_description: Make Mosquitto's accounts and ACL rules out of publishers and readers
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - A publisher writes its own topics. A reader and anonymous clients read theirs, and their topics below C($SYS/).
  - Replaces the filters C(firehose_accounts) and C(firehose_acl) of version 1.0.0.
positional: readers, public_topics, public_sys, private
options:
  _input:
    description: The publishers of a firehose, as the variable C(firehose_publishers) of the role P(opendev.firehose.firehose#role) has them.
    type: list
    elements: dict
    required: true
  readers:
    description: The readers of the firehose, as the variable C(firehose_readers) has them.
    type: list
    elements: dict
    default: []
  public_topics:
    description: The topic filters that anonymous clients may read.
    type: list
    elements: str
    default: []
  public_sys:
    description: The topics below C($SYS/) that anonymous clients may read.
    type: list
    elements: str
    default: []
  private:
    description: The topic that a publisher both writes and reads, by the publisher's name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the ACL rules of a firehose
  ansible.builtin.debug:
    msg: "{{ (firehose_publishers | opendev.firehose.firehose_policy(firehose_readers, ['#'])).acl }}"
"""

RETURN = r"""
_value:
  description: The variables C(mosquitto_users) and C(mosquitto_acl) of the role P(opendev.firehose.mosquitto#role), without their prefix.
  type: dict
  contains:
    users:
      description: The accounts, first those of publishers.
      type: list
      elements: dict
    acl:
      description: The ACL rules.
      type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_policy": _firehose.policy}
