# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_edge_lines
short_description: Put what was seen at several edges together
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the lines of one kind that M(opendev.firehose.firehose_verify) has returned for each edge, with the edge's name behind each.
positional: key

options:
  _input:
    description: The results of a loop over what P(opendev.firehose.firehose_edge_places#filter) gives.
    type: list
    elements: dict
    required: true
  key:
    description: Which of the module's lists.
    type: str
    choices: [failures, table]
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong with edges
  ansible.builtin.debug:
    msg: "{{ results | opendev.firehose.firehose_edge_lines('failures') }}"
  vars:
    results:
      - item:
          name: edge1.example.org
        failures: ["failed       port 80 (websockets, MQTT 5) lets anyone in"]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_edge_lines": _firehose_public.lines}
