# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_edge_places
short_description: Tell where anonymous clients find the edge hosts of a firehose
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - For role P(opendev.firehose.firehose#role). Lists the edge hosts that serve, for M(opendev.firehose.firehose_verify). Drained edge hosts are left out.
options:
  _input:
    description: The variables of each edge, from C(hostvars).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ edges | opendev.firehose.firehose_edge_places }}"
  vars:
    edges:
      - inventory_hostname: edge1.example.org
        ansible_host: 192.0.2.1
      - inventory_hostname: edge2.example.org
        firehose_edge_state: drained
"""

RETURN = r"""
_value:
  description:
    - For each edge host its C(name) in the inventory, the C(host) that anonymous clients connect to, its C(listeners), and of those with
      TLS the C(certificates).
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_verification


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_edge_places": _firehose_verification.places}
