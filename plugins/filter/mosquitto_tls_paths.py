# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_tls_paths
short_description: Say where the certificates and keys of a broker's listeners are
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the listeners as they are, but those whose certificate and key are texts also with the paths of the files that hold them.
options:
  _input:
    description: Listeners, as the variable C(mosquitto_listeners) of the role P(opendev.firehose.mosquitto#role) has them.
    type: list
    elements: dict
    required: true
  directory:
    description: What holds the files. Each listener has a directory below it.
    type: str
    required: true
positional: directory
"""

EXAMPLES = r"""
- name: Show where they are
  ansible.builtin.debug:
    msg: "{{ listeners | opendev.firehose.mosquitto_tls_paths('/etc/mosquitto/tls') | map(attribute='tls.certificate') }}"
  vars:
    listeners:
      - port: 8883
        tls:
          certificate: /etc/letsencrypt/live/firehose01.example.org/fullchain.pem
          key: /etc/letsencrypt/live/firehose01.example.org/privkey.pem
"""

RETURN = r"""
_value:
  description: The listeners.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _tls


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_tls_paths": _tls.with_paths}
