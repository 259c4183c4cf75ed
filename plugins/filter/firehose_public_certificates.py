# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_public_certificates
short_description: Say where HAProxy finds the certificates of a firehose's listeners
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - HAProxy wants the key beside the certificate, with C(.key) behind its name. This gives such names, each certificate one.
positional: directory
options:
  _input:
    description: The listeners, as the variable C(firehose_listeners) of the role P(opendev.firehose.firehose_public#role) has them.
    type: list
    elements: dict
    required: true
  directory:
    description: What is to hold them.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is linked to what
  ansible.builtin.debug:
    msg: "{{ (firehose_listeners | opendev.firehose.firehose_public_certificates('/etc/firehose-haproxy')).links }}"
  vars:
    firehose_listeners:
      - port: 8883
        tls:
          certificate: /etc/letsencrypt/live/edge1.example.org/fullchain.pem
          key: /etc/letsencrypt/live/edge1.example.org/privkey.pem
"""

RETURN = r"""
_value:
  description: The C(files) with certificates and keys that are texts, as M(opendev.firehose.text_files) takes them, and the C(links) to others.
  type: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose_public


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_public_certificates": _firehose_public.certificates}
