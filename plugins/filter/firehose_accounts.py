# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_accounts
short_description: Make Mosquitto's accounts out of publishers and readers
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Takes what O(opendev.firehose.mosquitto_users#module:users) needs out of entries that also say what an account may do.
options:
  _input:
    description: Publishers and readers of a firehose.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the accounts
  ansible.builtin.debug:
    msg: "{{ (firehose_publishers + firehose_readers) | opendev.firehose.firehose_accounts }}"
"""

RETURN = r"""
_value:
  description: The accounts.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_accounts": _firehose.accounts}
