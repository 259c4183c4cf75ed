# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_config
short_description: Write the configuration of a NATS server
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the configuration that the variables of the role P(opendev.firehose.nats#role) ask for, in the syntax of NATS.
  - The same variables always give the same text.
options:
  _input:
    description: The variables, by their names, of which the filter P(opendev.firehose.role_problems#filter) has found nothing wrong.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the configuration
  ansible.builtin.debug:
    msg: "{{ my_variables | opendev.firehose.nats_config }}"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _nats


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"nats_config": _nats.config}
