# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_files
short_description: List the files of a host's broker instances
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives what the role P(opendev.firehose.mosquitto#role) writes for all broker instances of a host at once, with M(opendev.firehose.text_files).
    Accounts and access rules are not among it, since other roles may add to them.
  - Only of use inside that role, whose templates it names.
options:
  _input:
    description: One dictionary for each broker instance, with C(name) and all variables of the role, without their prefix C(mosquitto_).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which files the brokers have
  ansible.builtin.debug:
    msg: "{{ (brokers | opendev.firehose.mosquitto_files).files | map(attribute='path') }}"
  vars:
    brokers:
      - name: public
        accounts: true
        listeners:
          - port: 1883
        options: {}
        persistence: false
        bridges: []
"""

RETURN = r"""
_value:
  description:
    - The options C(directories) and C(files) of M(opendev.firehose.text_files), C(has_secrets), which tells whether any of the files has a
      secret, and the option C(tls_pairs), which M(opendev.firehose.tls_validate) takes as its C(pairs).
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _brokers


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_files": _brokers.wanted}
