# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_problems
short_description: Say what is wrong with the variables of the role firehose
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Lists publishers and readers that cannot be, or that could not do what they are for.
  - The role P(opendev.firehose.firehose#role) calls it before it changes anything.
positional: options
options:
  _input:
    description: The variables of the role, by their names.
    type: dict
    required: true
  options:
    description: The options of the role's argument specs.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ my_variables | opendev.firehose.firehose_problems(my_specs.argument_specs.main.options) }}"
"""

RETURN = r"""
_value:
  description: One line for each problem, which names the variable. Empty if all is well.
  type: list
  elements: str
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_problems": _firehose.problems}
