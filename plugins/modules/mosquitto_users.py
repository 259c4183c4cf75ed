#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_users
short_description: Manage the accounts in a Mosquitto password file
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Brings any number of accounts into a Mosquitto password file at once.
  - The stored hash is recomputed with its own salt and iterations, so that a second run with the same passwords changes nothing,
    and a new password takes effect.
  - Passwords never reach a command line, a log, a diff or a result. The file is replaced as a whole. A new one is readable for
    nobody but its owner until it gets the wanted O(owner), O(group) and O(mode); an existing one keeps its mode until then.
  - A running broker does not notice. Reload it afterwards, for example with M(opendev.firehose.systemd_current).
extends_documentation_fragment:
  - ansible.builtin.files
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff lists the names of the accounts and marks those that get another password. It never shows a hash.
  idempotent:
    support: full
    details:
      - An account whose stored hash is Argon2 is given a C($7$) hash of O(users[].password) once.
options:
  path:
    description:
      - The password file. It is created if it does not exist; its directory must exist.
      - A symbolic link is refused, since Mosquitto 2.1 refuses it too.
    type: path
    required: true
  users:
    description:
      - The accounts. Accounts, comments and empty lines of the file that are not named here stay as they are, unless O(prune=true).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name that a client logs in with. It cannot have V(:) or control characters, cannot start with V(#), and cannot start
            or end with a blank.
        type: str
        required: true
      password:
        description:
          - The password. It is stored as PBKDF2-HMAC-SHA512 (C($7$)) with a random salt of 12 bytes, which every Mosquitto since 2.0 reads.
          - Mutually exclusive with O(users[].password_hash); one of them is needed unless O(users[].state=absent).
        type: str
      password_hash:
        description:
          - The hash as it stands in a password file, C($7$iterations$salt$hash), C($6$salt$hash), or (from Mosquitto 2.1) C($argon2id$...).
          - Mosquitto 2.0 reads C($7$) hashes only with a salt of 12 bytes.
        type: str
      state:
        description: Whether the account exists.
        type: str
        choices: [present, absent]
        default: present
  prune:
    description: Whether accounts that O(users) does not name are removed. Comments stay.
    type: bool
    default: false
  iterations:
    description:
      - The number of PBKDF2 iterations for new hashes. A stored hash keeps its own number for as long as its password is right.
      - The broker computes as many in its only thread whenever a client logs in, or tries to; V(1000) take about a millisecond.
        Prefer long random passwords to many iterations.
    type: int
    default: 1000
seealso:
  - name: mosquitto_passwd
    description: Mosquitto's own tool for the same file.
    link: https://mosquitto.org/man/mosquitto_passwd-1.html
"""

EXAMPLES = r"""
- name: Two accounts, and one that must not exist
  opendev.firehose.mosquitto_users:
    path: /etc/mosquitto/passwd
    owner: mosquitto
    group: mosquitto
    mode: "0600"
    users:
      - name: zuul
        password: "{{ vault_zuul_mqtt_password }}"
      - name: statistics
        password_hash: "{{ vault_statistics_mqtt_hash }}"
      - name: retired
        state: absent
  become: true

- name: No accounts but these
  opendev.firehose.mosquitto_users:
    path: /etc/mosquitto/passwd
    users:
      - name: zuul
        password: "{{ vault_zuul_mqtt_password }}"
    prune: true
  become: true
"""

RETURN = r"""
added:
  description: The names of the accounts that did not exist before.
  returned: success
  type: list
  elements: str
  sample: [zuul]
updated:
  description: The names of the accounts that got another password.
  returned: success
  type: list
  elements: str
  sample: [statistics]
removed:
  description: The names of the accounts that no longer exist.
  returned: success
  type: list
  elements: str
  sample: [retired]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils import _accounts, _files


def names_for_diff(lines: t.Iterable[_accounts.Line], updated: t.Container[str] = ()) -> str:
    """The accounts of a file for a diff: names, and a mark at those whose password is another one."""
    return "".join(
        f"{line.name}{' (another password)' if line.name in updated else ''}\n"
        for line in lines
        if line.name is not None
    )


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                    "password_hash": {"type": "str", "no_log": True},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "prune": {"type": "bool", "default": False},
            "iterations": {"type": "int", "default": _accounts.DEFAULT_ITERATIONS},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path, users, iterations = module.params["path"], module.params["users"], module.params["iterations"]

    problems = _accounts.user_problems(users, "users")
    if not 1 <= iterations <= _accounts.MAX_ITERATIONS:
        problems.append(f"iterations: {iterations} is not between 1 and {_accounts.MAX_ITERATIONS}")
    if problems:
        module.fail_json(msg="; ".join(problems))

    content = _files.read_text(module, path)
    try:
        before = _accounts.parse(content or "")
    except _accounts.FileError as exc:
        module.fail_json(msg=f"{path}, {exc}")
    after, changes = _accounts.merge(before, users, prune=module.params["prune"], iterations=iterations)

    changed = content is None or bool(changes)
    accounts_diff = {
        "before_header": f"{path} (accounts)",
        "after_header": f"{path} (accounts)",
        "before": names_for_diff(before),
        "after": names_for_diff(after, changes.updated),
    }
    attributes_diff: dict[str, t.Any] = {}
    if changed and not module.check_mode:
        _files.write_secret(module, path, _accounts.render(after))
    if not module.check_file_absent_if_check_mode(path):
        file_args = module.load_file_common_arguments(module.params, path=path)
        changed = module.set_fs_attributes_if_different(file_args, changed, attributes_diff)

    module.exit_json(
        changed=changed,
        added=changes.added,
        updated=changes.updated,
        removed=changes.removed,
        diff=[accounts_diff, attributes_diff],
    )


if __name__ == "__main__":
    main()
