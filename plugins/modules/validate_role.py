#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_role
short_description: Validate the variables of a role of this collection
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Only the roles of this collection need this module.
  - It reads the variables of a role's entry point on the control node and fails with one line for each that is invalid. Argument specs cannot
    say all of it, and accept values of a wrong type if these can be converted.
  - It warns of variables that begin with the role's name and that no role reads.
  - No message contains a password or a key.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  role:
    description: The name of the role.
    type: str
    required: true
    choices: [firehose, firehose_public, germqtt, mosquitto]
  entry_point:
    description: The entry point of the role, as its argument specs name it.
    type: str
    default: main
    choices: [account, main, publisher, validate, verify]
  values:
    description: Values that are validated in addition to the variables, or in place of them, by their names.
    type: dict
    default: {}
  mosquitto_version:
    description:
      - The version of the Debian package C(mosquitto). Without one, values that only some versions reject are accepted.
      - Only O(role=mosquitto) uses it.
    type: str
    default: ""
  replacements:
    description:
      - For variables of other roles that O(role) sets itself, a sentence that says what to do instead. One that has another value than
        its default is a warning.
      - On the command line, from where it would override what the role sets, it is an error.
    type: dict
    default: {}
  set_by_role:
    description: Other variables that O(role) sets itself. With one of them on the command line the module fails, as with one of O(replacements).
    type: list
    elements: str
    default: []
seealso:
  - module: ansible.builtin.validate_argument_spec
"""

EXAMPLES = r"""
- name: Validate an account before the play that creates it
  opendev.firehose.validate_role:
    role: mosquitto
    entry_point: account
    mosquitto_version: 2.0.21-1
  vars:
    mosquitto_account:
      name: zuul
      password: "{{ vault_zuul_mqtt_password }}"
      rules:
        - topic: zuul/#
          access: write
"""

RETURN = r"""
problems:
  description: One line for each variable that is invalid.
  returned: always
  type: list
  elements: str
  sample: ["firehose_max_payload: 0 is not between 1 and 268304287"]
"""
