#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mosquitto_acls
short_description: Manage the access rules in a Mosquitto ACL file
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Brings any number of rules into the file that Mosquitto's option C(acl_file) names. Those for clients without a name, those of each
    user that is given, and the patterns become exactly what is asked for. Whatever is not mentioned stays, unless O(prune=true).
  - What no rule allows is denied. A client with a name does not have the rights of those without one.
  - Rules that never match, or that others make pointless, are warned of and returned, and so are rules outside O(patterns) with V(%u) or
    V(%c), which they take as it stands. Topic filters are checked by the rules of MQTT.
  - Runs at the same time wait for each other. A file that another program changes meanwhile is left as that program wrote it, and
    the module fails.
  - A running broker does not notice. Reload it afterwards, for example with M(opendev.firehose.systemd_current).
extends_documentation_fragment:
  - ansible.builtin.files
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The ACL file. It is created if it does not exist; its directory must exist.
      - A symbolic link is rejected, as Mosquitto 2.1 rejects it.
    type: path
    required: true
  anonymous:
    description: The rules for clients without a name. If this is not given, those of the file stay.
    type: list
    elements: dict
    suboptions: &rule
      topic:
        description:
          - A topic filter. Topics that start with V($) are matched only by filters that do so too.
          - A filter without wildcards matches that one topic and none below it.
        type: str
        required: true
      access:
        description: What the rule says of these topics. V(deny) wins over the other rules of the same list, wherever it stands.
        type: str
        choices: [read, write, readwrite, deny]
        default: read
  users:
    description: The rules of users. Those of users that are not named here stay.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name that the user's clients log in with.
        type: str
        required: true
      rules:
        description:
          - The user's rules. They come before O(patterns), also before those that deny.
          - A user who is given none loses those of the file. To leave them alone, do not name the user.
        type: list
        elements: dict
        default: []
        suboptions: *rule
      state:
        description: Whether the user has rules.
        type: str
        choices: [present, absent]
        default: present
  patterns:
    description:
      - Rules for every client, also those without a name, asked if the client's own say nothing. If this is not given, those of the file stay.
      - A level V(%u) stands for the client's name, a level V(%c) for its client id. Patterns with V(%u) are not for clients without a name.
      - A client chooses its client id. A rule that depends on V(%c) alone allows all clients.
    type: list
    elements: dict
    suboptions: *rule
  prune:
    description: Whether rules of users, patterns and rules for clients without a name that are not given here are removed. Comments stay.
    type: bool
    default: false
  allow_anonymous_publish:
    description:
      - Whether clients without a name may get rules that let them write. If not, such a rule is rejected.
      - One that is in the file already, and in a list that is not given here, is warned of.
    type: bool
    default: false
seealso:
  - module: opendev.firehose.mosquitto_acls_info
  - module: opendev.firehose.mosquitto_users
  - name: mosquitto.conf
    description: The format of the file, in the section about acl_file.
    link: https://mosquitto.org/man/mosquitto-conf-5.html
"""

EXAMPLES = r"""
- name: Anonymous clients read, a publisher writes its own topics
  opendev.firehose.mosquitto_acls:
    path: /etc/mosquitto/acl
    owner: mosquitto
    group: mosquitto
    mode: "0600"
    anonymous:
      - topic: "#"
    users:
      - name: zuul
        rules:
          - topic: zuul/#
            access: write
      - name: retired
        state: absent
  become: true

- name: Everybody has a place of its own, and these are all rules that there are
  opendev.firehose.mosquitto_acls:
    path: /etc/mosquitto/acl
    users:
      - name: monitor
        rules:
          - topic: $SYS/broker/#
          - topic: clients/#
          - topic: clients/+/secret
            access: deny
    patterns:
      - topic: clients/%u/#
        access: readwrite
    prune: true
  become: true
"""

RETURN = r"""
added:
  description: The rules that were not there before, as text.
  returned: success
  type: list
  elements: str
  sample: ["user zuul: write zuul/#"]
removed:
  description: The rules that are gone, as text.
  returned: success
  type: list
  elements: str
  sample: ["user retired: write retired/#"]
pointless:
  description:
    - The rules of the whole file that never match, that others make pointless, or that have a placeholder outside the patterns, each with
      the reason.
    - Not every pointless rule is found. A name or a client id is taken for one that may have slashes.
  returned: success
  type: list
  elements: str
  sample: ["user zuul: 'topic write zuul/status': 'write zuul/#' allows it already"]
"""

import collections
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file
from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import acl_decisions, acl_file, line_file

RULES: dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "topic": {"type": "str", "required": True},
        "access": {"type": "str", "choices": list(acl_file.ACCESS), "default": "read"},
    },
}
ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "anonymous": RULES,
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "rules": {**RULES, "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "patterns": RULES,
    "prune": {"type": "bool", "default": False},
    "allow_anonymous_publish": {"type": "bool", "default": False},
}


def as_text(rights: acl_file.Rights) -> collections.Counter[str]:
    """All rules, each with whose it is."""
    lists = {"anonymous": rights.anonymous, "patterns": rights.patterns}
    lists.update({f"user {name}": rules for name, rules in rights.users.items()})
    return collections.Counter(f"{whose}: {rule}" for whose, rules in lists.items() for rule in rules)


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, add_file_common_args=True, supports_check_mode=True)
    params = module.params
    allowed_by = "" if params["allow_anonymous_publish"] else "allow_anonymous_publish"
    problems = acl_file.problems(params, allowed_by=allowed_by)
    if problems:
        module.fail_json(msg="; ".join(problems))

    with locked_file.TextFile(module) as file:
        try:
            before = acl_file.parse(file.content or "")
        except line_file.FileError as exc:
            file.fail(f", {exc}")
        after = acl_file.merge(before, acl_file.wanted(params), prune=params["prune"])
        content = acl_file.render(after)
        # As the broker will read it
        lines = acl_file.parse(content)
        rights = acl_file.collect(lines)
        pointless = acl_decisions.pointless(rights)
        writable = [line.text.strip() for line in lines if allowed_by and acl_file.lets_anonymous_publish(line)]
        for warning in [*(f"lets clients without a name publish: {line}" for line in writable), *pointless]:
            module.warn(f"{file.path}: {warning}")

        changed, attributes_diff = file.put(content)
        rules_before, rules_after = as_text(acl_file.collect(before)), as_text(rights)
        rules_diff = {
            "before_header": f"{file.path} (rules)",
            "after_header": f"{file.path} (rules)",
            "before": file.content or "",
            "after": content,
        }
        module.exit_json(
            changed=changed,
            added=sorted((rules_after - rules_before).elements()),
            removed=sorted((rules_before - rules_after).elements()),
            pointless=pointless,
            diff=[rules_diff, attributes_diff],
        )


if __name__ == "__main__":
    main()
