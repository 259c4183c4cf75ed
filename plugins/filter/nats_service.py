# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_service
short_description: Say what a NATS server needs on its host beside its configuration
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives what the role P(opendev.firehose.nats#role) makes the server's unit and files of.
positional: directory
options:
  _input:
    description: The variables of the role, by their names, of which the filter P(opendev.firehose.role_problems#filter) has found nothing wrong.
    type: dict
    required: true
  directory:
    description: Where certificates and keys that are texts are written.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which certificates and keys the server reads
  ansible.builtin.debug:
    msg: "{{ (my_variables | opendev.firehose.nats_service('/etc/nats/tls')).copies | map(attribute='src') }}"
"""

RETURN = r"""
_value:
  description:
    - The keys are C(files) for the module M(opendev.firehose.text_files), C(copies) with C(src) and C(dest) of each certificate and key,
      C(sessions) with what the stream of MQTT sessions is to be like, C(has_privileged_port), and C(go_memory) in bytes.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _nats


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"nats_service": _nats.service}
