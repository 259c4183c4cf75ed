#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zipapp
short_description: Put a Python program on a host, as one file
version_added: 2.1.0
author: the opendev.firehose authors (@opendev)
description:
  - Makes a Python program of one file out of the packages in a directory on the control node, and copies it to the managed host. The
    program is an archive that Python runs as it stands, as with the standard library's C(zipapp).
  - A program of many files so takes one task, and a second run of it looks at one file only.
  - The same files make the same archive on every control node.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details:
      - Shows that the file changes, and not what changes in it.
  idempotent:
    support: full
options:
  src:
    description:
      - The directory that holds the packages. A relative path is looked for as M(ansible.builtin.copy) does it.
      - Only files whose names end in C(.py) are taken.
    type: path
    required: true
  dest:
    description: The program's path on the managed host.
    type: path
    required: true
  main:
    description: The function that runs the program, as C(package.module:function). What it returns becomes the exit status.
    type: str
    required: true
  module_utils:
    description:
      - Packages of this collection's C(plugins/module_utils) that the program imports from. They have the same names in the program as in
        modules.
      - They are private to the collection, so that this is for its own roles.
    type: list
    elements: str
    default: []
    version_added: 3.0.0
  interpreter:
    description: The managed host's Python that runs the program.
    type: str
    default: /usr/bin/python3
  owner:
    description: The file's owner.
    type: str
  group:
    description: The file's group.
    type: str
  mode:
    description: The file's permissions.
    type: raw
    default: "0755"
"""

EXAMPLES = r"""
- name: Install a program of a role's own
  opendev.firehose.zipapp:
    src: events
    dest: /usr/local/bin/count-events
    main: events.cli:main
    owner: root
    group: root
  become: true
"""

RETURN = r"""
dest:
  description: The program's path on the managed host.
  returned: success
  type: str
  sample: /usr/local/bin/count-events
checksum:
  description: The SHA1 checksum of the program.
  returned: success
  type: str
  sample: 6e642bb8dd5c2e027bf21dd923337cbb4214f827
"""
