# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_tls_files
short_description: Say what has to be written for a broker's listeners with TLS
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the directories and the files of those listeners whose certificate and key are texts, for the module M(opendev.firehose.text_files).
options:
  _input:
    description: Listeners as the filter P(opendev.firehose.mosquitto_tls_paths#filter) gives them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which files are written
  ansible.builtin.debug:
    msg: "{{ (listeners | opendev.firehose.mosquitto_tls_files).files | map(attribute='path') }}"
  vars:
    listeners:
      - port: 8883
        tls:
          certificate: /etc/mosquitto/tls/8883/certificate.pem
          key: /etc/mosquitto/tls/8883/key.pem
          certificate_pem: "{{ vault_certificate }}"
          key_pem: "{{ vault_key }}"
"""

RETURN = r"""
_value:
  description: The options C(directories) and C(files) of that module, and the option C(pairs) of M(opendev.firehose.tls_validate).
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _tls


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_tls_files": _tls.files}
