# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_listeners
short_description: Tell which listeners a firehose has by default
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the listeners for anonymous clients, or for accounts, that a firehose has without others in the inventory.
positional: plain, accounts
options:
  _input:
    description:
      - A certificate and its key, as the variable C(firehose_tls) of the role P(opendev.firehose.firehose_public#role) has them. If it is empty,
        no listener has TLS.
    type: dict
    required: true
  plain:
    description: Whether there are listeners without TLS. Those for accounts are on the loopback.
    type: bool
    default: true
  accounts:
    description: Whether the listeners are for publishers and readers with accounts.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show one more listener than by default
  ansible.builtin.debug:
    msg: "{{ tls | opendev.firehose.firehose_listeners + [{'port': 8080, 'protocol': 'websockets'}] }}"
  vars:
    tls:
      certificate: /etc/letsencrypt/live/firehose01.example.org/fullchain.pem
      key: /etc/letsencrypt/live/firehose01.example.org/privkey.pem
"""

RETURN = r"""
_value:
  description: The listeners, as the variables C(firehose_listeners) and C(firehose_account_listeners) have them.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_listeners": _firehose.listeners}
