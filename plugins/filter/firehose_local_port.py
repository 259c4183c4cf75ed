# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_local_port
short_description: Say where a program on the firehose's host gets to its accounts
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the port of the first listener that serves MQTT over TCP on the address 127.0.0.1 and needs no TLS.
options:
  _input:
    description: The listeners, as the variable C(firehose_account_listeners) of the role P(opendev.firehose.firehose#role) has them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ listeners | opendev.firehose.firehose_local_port }}"
  vars:
    listeners:
      - port: 8884
        tls:
          certificate: /etc/ssl/firehose.pem
          key: /etc/ssl/private/firehose.pem
      - port: 1884
        bind_address: 127.0.0.1
"""

RETURN = r"""
_value:
  description: The port, none if there is no such listener.
  type: int
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_local_port": _firehose.local_port}
