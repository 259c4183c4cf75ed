# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: role_problems
short_description: Say what is wrong with the variables of one of this collection's roles
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Lists everything that the role could not do, or that would become another configuration than the one asked for.
  - The roles call it before they change anything. Argument specs cannot say all of it, and let values of a wrong type pass if they
    could be converted.
  - It warns of variables that no role reads.
positional: entry_point, options, version
options:
  _input:
    description: The variables, by their names.
    type: dict
    required: true
  entry_point:
    description: Whose variables they are. V(main) entry points go by their role's name alone.
    type: str
    required: true
    choices: [firehose, firehose_edge, firehose_policy, firehose_publisher, germqtt, mosquitto, mosquitto_account]
  options:
    description: The options of the entry point's argument specs.
    type: dict
    required: true
  version:
    description:
      - The version of the Debian package C(mosquitto). Without one, values that only some versions reject are allowed.
      - Only V(mosquitto) and V(mosquitto_account) use it.
    type: str
    default: ""
  names:
    description: The names of all variables of the play that begin with the role's prefix. A name that no role has is a warning.
    type: list
    elements: str
    default: []
  replaced:
    description: Variables of other roles that this role sets itself, by their names. One that has another value than its default is a warning.
    type: dict
    default: {}
  replacements:
    description: For each name in O(replaced), a sentence that says what to do instead.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what is wrong with an account
  ansible.builtin.debug:
    msg: "{{ account | opendev.firehose.role_problems('mosquitto_account', options, '2.0.21-1') }}"
  vars:
    account:
      mosquitto_account:
        name: zuul
        rules:
          - topic: zuul/#/status
    options:
      mosquitto_account:
        type: dict
"""

RETURN = r"""
_value:
  description: One line for each problem, which names the variable. Empty if all is well.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.opendev.firehose.plugins.plugin_utils import (
    _firehose_edge,
    _firehose_problems,
    _germqtt,
    _mosquitto,
    _names,
    _types,
)

Variables = t.Mapping[str, t.Any]
CHECKS: dict[str, t.Callable[[Variables, Variables, str], list[str]]] = {
    "firehose": lambda variables, options, _version: _firehose_problems.problems(variables, options),
    "firehose_edge": lambda variables, options, _version: _firehose_edge.problems(variables, options),
    "firehose_policy": lambda variables, options, _version: _firehose_problems.policy_problems(variables, options),
    "firehose_publisher": lambda variables, options, _version: _firehose_problems.publisher_problems(
        variables, options
    ),
    "germqtt": lambda variables, options, _version: _germqtt.problems(variables, options),
    "mosquitto": _mosquitto.problems,
    "mosquitto_account": _mosquitto.account_problems,
}


def role_problems(
    variables: Variables,
    entry_point: str,
    options: Variables,
    version: str = "",
    *,
    names: t.Iterable[str] = (),
    replaced: Variables | None = None,
    replacements: t.Mapping[str, str] | None = None,
) -> list[str]:
    """See DOCUMENTATION."""
    if entry_point not in CHECKS:
        raise AnsibleFilterError(f"role_problems: entry_point is {entry_point!r} and not one of {', '.join(CHECKS)}")
    for warning in _names.unknown_warnings(names) + _names.replaced_warnings(replaced or {}, replacements or {}):
        Display().warning(warning)
    return CHECKS[entry_point](_types.converted(variables, options), options, version)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"role_problems": role_problems}
