# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_public_frontends
short_description: Say how HAProxy serves a firehose's listeners
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives listeners as the configuration of HAProxy has them.
positional: directory
options:
  _input:
    description:
      - For each variable its listeners, as the variable C(firehose_listeners) of the role P(opendev.firehose.firehose_public#role) has them.
    type: dict
    required: true
  directory:
    description: What holds the certificates, by the names that P(opendev.firehose.firehose_public_certificates#filter) gives.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ {'firehose_listeners': firehose_listeners} | opendev.firehose.firehose_public_frontends('/etc/firehose-haproxy') }}"
  vars:
    firehose_listeners:
      - port: 80
        protocol: websockets
"""

RETURN = r"""
_value:
  description:
    - For each variable a list with an entry for each listener. It has the C(name), the C(protocol), which is C(mqtt) or C(websockets), the
      C(tls_options) of the line C(bind), what systemd is told to C(listen) on, the C(place) with address, port and variable, C(max_connections), or
      C(0) if there is none, and where it C(answers) the host itself, as M(opendev.firehose.mqtt_wait_for) takes it.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_public_frontends": _firehose_public.frontends}
