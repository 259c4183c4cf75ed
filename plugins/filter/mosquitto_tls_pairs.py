# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_tls_pairs
short_description: List the certificates and keys of a broker's listeners
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives what M(opendev.firehose.tls_validate) takes, in its option O(opendev.firehose.tls_validate#module:pairs).
options:
  _input:
    description: Listeners, as the role P(opendev.firehose.mosquitto#role) takes them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which certificates the listeners have
  ansible.builtin.debug:
    msg: "{{ listeners | opendev.firehose.mosquitto_tls_pairs | map(attribute='certificate') }}"
  vars:
    listeners:
      - port: 1883
      - port: 8883
        tls:
          certificate: /etc/letsencrypt/live/firehose01.example.org/fullchain.pem
          key: /etc/letsencrypt/live/firehose01.example.org/privkey.pem
"""

RETURN = r"""
_value:
  description: The port, certificate, key and ciphers of each listener with TLS.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _tls


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_tls_pairs": _tls.pairs}
