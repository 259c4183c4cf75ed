#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_acls_info
short_description: List the access rules in a Mosquitto ACL file
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Lists the rules of a Mosquitto ACL file by whom they are for, in the form that M(opendev.firehose.mosquitto_acls) takes them.
  - A file that Mosquitto would reject is an error that names the line.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  path:
    description: The ACL file. It cannot be a symbolic link.
    type: path
    required: true
seealso:
  - module: opendev.firehose.mosquitto_acls
"""

EXAMPLES = r"""
- name: See who may do what
  opendev.firehose.mosquitto_acls_info:
    path: /etc/mosquitto/acl
  become: true
  register: acl

- name: Insist on rules that let nobody publish without a name, and that all decide something
  ansible.builtin.assert:
    that:
      - not acl.anonymous_publish
      - acl.pointless | length == 0
"""

RETURN = r"""
exists:
  description: Whether there is such a file. A broker whose configuration names one that is missing does not start.
  returned: success
  type: bool
  sample: true
anonymous:
  description: The rules for clients without a name.
  returned: success
  type: list
  elements: dict
  contains: &rule
    topic:
      description: The topic filter.
      type: str
      sample: zuul/#
    access:
      description: What the rule says. A rule of the file that does not say it is V(readwrite).
      type: str
      choices: [read, write, readwrite, deny]
      sample: write
users:
  description: The rules of users, in the order of the file.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The user's name.
      type: str
      sample: zuul
    rules:
      description: The user's rules.
      type: list
      elements: dict
      contains: *rule
patterns:
  description: The rules for every client.
  returned: success
  type: list
  elements: dict
  contains: *rule
anonymous_publish:
  description: Whether clients without a name have a rule that lets them write.
  returned: success
  type: bool
  sample: false
pointless:
  description:
    - The rules that never match, that others make pointless, or that have a placeholder outside the patterns, each with the reason.
    - Not every pointless rule is found. A name or a client id is taken for one that may have slashes.
  returned: success
  type: list
  elements: str
  sample: ["user zuul: 'topic write zuul/status': 'write zuul/#' allows it already"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_decisions, acl_file, line_file


def as_data(rules: t.Iterable[acl_file.Rule]) -> list[dict[str, str]]:
    return [rule._asdict() for rule in rules]


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    with locked_file.TextFile(module, lock=False) as file:
        try:
            lines = acl_file.parse(file.content or "")
        except line_file.FileError as exc:
            file.fail(f", {exc}")
        rights = acl_file.collect(lines)
        module.exit_json(
            changed=False,
            exists=file.content is not None,
            anonymous=as_data(rights.anonymous),
            users=[{"name": name, "rules": as_data(rules)} for name, rules in rights.users.items()],
            patterns=as_data(rights.patterns),
            anonymous_publish=any(acl_file.lets_anonymous_publish(line) for line in lines),
            pointless=acl_decisions.pointless(rights),
        )


if __name__ == "__main__":
    main()
