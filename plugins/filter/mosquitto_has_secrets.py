# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mosquitto_has_secrets
short_description: Say whether a configuration of Mosquitto has secrets
version_added: 1.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Looks for passwords of bridges, and for free-form options whose names say that they hold a secret.
options:
  _input:
    description: The variables of the role P(opendev.firehose.mosquitto#role), by their names.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show whether there are secrets
  ansible.builtin.debug:
    msg: "{{ my_variables | opendev.firehose.mosquitto_has_secrets }}"
"""

RETURN = r"""
_value:
  description: Whether there are.
  type: bool
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _mosquitto


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mosquitto_has_secrets": _mosquitto.has_secrets}
