# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_frontends
short_description: Tell how HAProxy serves the listeners of a firehose
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - For role P(opendev.firehose.firehose_public#role). Gives listeners as the configuration of HAProxy has them, their certificates where HAProxy
    looks for them, and the ports that other hosts reach.
  - HAProxy wants the key beside the certificate, with C(.key) behind its name.
positional: directory, others
options:
  _input:
    description:
      - For each variable its listeners, as the variable C(firehose_listeners) of the role P(opendev.firehose.firehose_public#role) has them.
    type: dict
    required: true
  directory:
    description: The directory for the certificates.
    type: str
    required: true
  others:
    description: The listeners of other brokers of the host, as the role P(opendev.firehose.mosquitto#role) takes them. HAProxy does not serve them.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show what HAProxy binds
  ansible.builtin.debug:
    msg: "{{ ({'firehose_listeners': firehose_listeners} | opendev.firehose.firehose_frontends('/etc/firehose-haproxy')).frontends }}"
  vars:
    firehose_listeners:
      - port: 8883
        tls:
          certificate: /etc/letsencrypt/live/edge1.example.org/fullchain.pem
          key: /etc/letsencrypt/live/edge1.example.org/privkey.pem
"""

RETURN = r"""
_value:
  description: What HAProxy serves, and what belongs to it.
  type: dict
  contains:
    frontends:
      description:
        - For each variable a list with an entry for each listener. It has the C(name), the C(protocol), which is C(mqtt) or C(websockets), the
          C(tls_options) of the line C(bind), what systemd is told to C(listen) on, the C(place) with address, port and variable, C(max_connections), or
          C(0) if there is none, and where it C(answers) the host itself, as M(opendev.firehose.mqtt_wait_for) takes it.
      type: dict
    files:
      description: The certificates and keys that are texts, as M(opendev.firehose.text_files) takes them.
      type: list
      elements: dict
    links:
      description: The links to the certificates and keys that are files of the host, with C(path) and C(src).
      type: list
      elements: dict
    tls_pairs:
      description: What M(opendev.firehose.tls_validate) takes, for the listeners of other brokers too.
      type: list
      elements: dict
    ports:
      description: For each variable the ports that other hosts reach.
      type: dict
    other_ports:
      description: Those of other brokers.
      type: list
      elements: int
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_frontends": _firehose_public.served}
