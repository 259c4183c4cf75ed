#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_users_info
short_description: List the accounts in a Mosquitto password file
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Lists the accounts of a Mosquitto password file, and how their hashes were made. Hashes and salts are not returned.
  - A file that Mosquitto would reject, or would read in another way than it looks, is an error that names the line.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  path:
    description: The password file. It cannot be a symbolic link.
    type: path
    required: true
seealso:
  - module: opendev.firehose.mosquitto_users
"""

EXAMPLES = r"""
- name: See who can log in
  opendev.firehose.mosquitto_users_info:
    path: /etc/mosquitto/passwd
  become: true
  register: accounts

- name: Name the accounts whose hashes Mosquitto 2.0 cannot read
  ansible.builtin.debug:
    msg: "{{ accounts.users | rejectattr('algorithm', 'eq', 'argon2id') | rejectattr('salt_bytes', 'eq', 12) | map(attribute='name') }}"
"""

RETURN = r"""
exists:
  description: Whether there is such a file. A broker whose configuration names one that is missing does not start.
  returned: success
  type: bool
  sample: true
users:
  description: The accounts, in the order of the file.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name that a client logs in with.
      type: str
      sample: zuul
    algorithm:
      description: How the hash was made. V(sha512-pbkdf2) is C($7$), V(sha512) is C($6$). Only Mosquitto 2.1 reads V(argon2id).
      type: str
      choices: [sha512-pbkdf2, sha512, argon2id]
      sample: sha512-pbkdf2
    iterations:
      description: The number of PBKDF2 iterations. V(1) for V(sha512), V(0) for V(argon2id).
      type: int
      sample: 1000
    salt_bytes:
      description: The length of the salt in bytes, V(0) for V(argon2id). Mosquitto 2.0 reads C($7$) hashes with V(12) only.
      type: int
      sample: 12
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file, password_file


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    with locked_file.TextFile(module, lock=False) as file:
        try:
            lines = password_file.parse(file.content or "")
        except line_file.FileError as exc:
            file.fail(f", {exc}")
        users = [
            {
                "name": line.name,
                "algorithm": line.stored.algorithm,
                "iterations": line.stored.iterations,
                "salt_bytes": len(line.stored.salt),
            }
            for line in lines
            if line.stored is not None
        ]
        module.exit_json(changed=False, exists=file.content is not None, users=users)


if __name__ == "__main__":
    main()
