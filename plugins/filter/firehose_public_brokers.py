# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_public_brokers
short_description: List the public broker instances of a host
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives what the role P(opendev.firehose.mosquitto#role) takes as O(opendev.firehose.mosquitto#role:main:mosquitto_instances). The listeners are
    on the loopback, for HAProxy.
options:
  _input:
    description: The numbers of the brokers, which become their names.
    type: list
    elements: str
    required: true
  broker:
    description: What all brokers have in common, with the keys of O(opendev.firehose.mosquitto#role:main:mosquitto_instances).
    type: dict
    required: true
  ports:
    description: The ports C(mqtt) and C(websockets), to which the number of the broker is added.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the public brokers of a host with two CPUs
  ansible.builtin.debug:
    msg: "{{ ['1', '2'] | opendev.firehose.firehose_public_brokers({'bridges': []}, {'mqtt': 600, 'websockets': 700}) }}"
"""

RETURN = r"""
_value:
  description: The brokers.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_public_brokers": _firehose_public.brokers}
