# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_endpoints
short_description: Say where a host reaches its own listeners
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Makes what O(opendev.firehose.mqtt_wait_for#module:listeners) takes out of the listeners of a configuration, but for those with
    pre-shared keys or the PROXY protocol.
options:
  _input:
    description: Listeners, as the variable C(mosquitto_listeners) of the role P(opendev.firehose.mosquitto#role) has them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where the listeners are
  ansible.builtin.debug:
    msg: "{{ mosquitto_listeners | opendev.firehose.mosquitto_endpoints }}"
"""

RETURN = r"""
_value:
  description: A host and port or a socket, the protocol, and whether it is TLS, for each listener.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_endpoints": _mosquitto.endpoints}
