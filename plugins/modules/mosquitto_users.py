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
    nobody but its owner until it gets the wanted O(owner), O(group) and O(mode); an existing one gets them before its new content.
  - Runs at the same time wait for each other. A file that another program changes meanwhile is left as that program wrote it, and
    the module fails.
  - A file that Mosquitto would reject, or would read in another way than it looks, is an error that names the line.
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
      - The diff lists the names of the accounts and marks those that get another password or hash. It never shows a hash.
  idempotent:
    support: full
    details:
      - An account whose stored hash is Argon2 is given a C($7$) hash of O(users[].password) once.
options:
  path:
    description:
      - The password file. It is created if it does not exist; its directory must exist.
      - A symbolic link is rejected, as Mosquitto 2.1 rejects it.
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
          - Mutually exclusive with O(users[].password_hash) and O(users[].password_file); one of them is needed unless O(users[].state=absent).
        type: str
      password_hash:
        description:
          - The hash as it stands in a password file, C($7$iterations$salt$hash), C($6$salt$hash), or (from Mosquitto 2.1) C($argon2id$...).
          - Mosquitto 2.0 reads C($7$) hashes only with a salt of 12 bytes.
        type: str
      password_file:
        description:
          - The path of a file on the managed host that holds the password and nothing else. It is made, with a random password and for root
            alone, where it is missing. So can a program of the same host have an account whose password nobody has to know.
        type: path
        version_added: 3.0.0
      state:
        description: Whether the account exists.
        type: str
        choices: [present, absent]
        default: present
  prune:
    description: Whether accounts that O(users) does not name are removed. Comments stay.
    type: bool
    default: false
  update_password:
    description:
      - With V(always), an account whose stored hash is not that of its password or O(users[].password_hash) gets another one.
      - With V(on_create), passwords are for accounts that do not exist yet. Those that do are left alone.
    type: str
    choices: [always, on_create]
    default: always
  iterations:
    description:
      - The number of PBKDF2 iterations for new hashes, 1 to 10000000. A stored hash keeps its own number for as long as its password is
        right, unless O(rehash=true).
      - The broker computes as many in its only thread whenever a client logs in, or tries to; V(1000) take about a millisecond.
        Prefer long random passwords to many iterations.
    type: int
    default: 1000
  salt_bytes:
    description: The length of the salts of new hashes in bytes. Mosquitto 2.0 reads V(12) only, 2.1 reads both.
    type: int
    choices: [12, 64]
    default: 12
  rehash:
    description:
      - Whether the hash of a right password is made anew if its algorithm, its iterations or the length of its salt are not those of new hashes.
      - Accounts that are given by O(users[].password_hash) or not at all keep theirs, since their passwords are not known.
    type: bool
    default: false
seealso:
  - module: opendev.firehose.mosquitto_users_info
  - module: opendev.firehose.mosquitto_acls
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

- name: Hashes with more iterations, for passwords that people chose themselves
  opendev.firehose.mosquitto_users:
    path: /etc/mosquitto/passwd
    users:
      - name: zuul
        password: "{{ vault_zuul_mqtt_password }}"
    iterations: 20000
    rehash: true
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
rehashed:
  description: The names of the accounts that kept their password and got another hash of it.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: The names of the accounts that no longer exist.
  returned: success
  type: list
  elements: str
  sample: [retired]
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file, quiet, secret_files
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file, password_file

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "users": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
            "password_hash": {"type": "str", "no_log": True},
            "password_file": {"type": "path", "no_log": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "prune": {"type": "bool", "default": False},
    # no_log is said outright, since Ansible takes an option with "password" in its name for one that holds a secret.
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always", "no_log": False},
    "iterations": {"type": "int", "default": password_file.DEFAULT_ITERATIONS},
    "salt_bytes": {"type": "int", "choices": list(password_file.SALT_BYTES), "default": password_file.SALT_BYTES[0]},
    "rehash": {"type": "bool", "default": False},
}


def names_for_diff(lines: t.Iterable[password_file.Line], changes: password_file.Changes | None = None) -> str:
    """The accounts of a file for a diff: names, and a mark at those whose password or hash is another one."""
    marks = dict.fromkeys(changes.updated, " (another password)") if changes else {}
    marks.update(dict.fromkeys(changes.rehashed, " (another hash)") if changes else {})
    return "".join(f"{line.name}{marks.get(line.name, '')}\n" for line in lines if line.name is not None)


def with_passwords(module: quiet.QuietModule) -> list[dict[str, t.Any]]:
    """The accounts, with the passwords of those that have them in files."""
    users = []
    for user in module.params["users"]:
        password = user["password"]
        if user["password_file"] and user["state"] == "present":
            try:
                password = secret_files.read(user["password_file"])
                if password is None:
                    password = secret_files.new() if module.check_mode else secret_files.make(user["password_file"])
            except secret_files.WordError as exc:
                module.fail_json(msg=f"{user['name']}: password_file: {exc}")
        users.append({**user, "password": password})
    return users


def main() -> t.NoReturn:
    module = quiet.QuietModule(argument_spec=ARGUMENT_SPEC, add_file_common_args=True, supports_check_mode=True)
    params = module.params
    problems = password_file.user_problems(params["users"], "users")
    if not 1 <= params["iterations"] <= password_file.MAX_ITERATIONS:
        problems.append(f"iterations: {params['iterations']} is not between 1 and {password_file.MAX_ITERATIONS}")
    if problems:
        module.fail_json(msg="; ".join(problems))

    with locked_file.TextFile(module) as file:
        try:
            before = password_file.parse(file.content or "")
        except line_file.FileError as exc:
            file.fail(f", {exc}")
        policy = password_file.Policy(
            prune=params["prune"], on_create=params["update_password"] == "on_create", rehash=params["rehash"]
        )
        parameters = password_file.Parameters(params["iterations"], params["salt_bytes"])
        after, changes = password_file.merge(before, with_passwords(module), parameters, policy)

        changed, attributes_diff = file.put(password_file.render(after))
        result: dict[str, t.Any] = {"changed": changed, **vars(changes)}
        # Ansible looks for every password in all of a result, which takes its time where there are many.
        if module._diff:
            accounts_diff = {
                "before_header": f"{file.path} (accounts)",
                "after_header": f"{file.path} (accounts)",
                "before": names_for_diff(before),
                "after": names_for_diff(after, changes),
            }
            result["diff"] = [accounts_diff, attributes_diff]
        module.exit_json(**result)


if __name__ == "__main__":
    main()
