# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: firehose_public_listeners
short_description: Say which listeners the public reaches
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Gives the listeners on TCP ports that are not bound to the host's own loopback address, for the module
    M(opendev.firehose.firehose_verify).
  - Of listeners with pre-shared keys, the PROXY protocol or certificates of clients it says that they are not checked.
options:
  _input:
    description: The listeners, as the variable C(firehose_listeners) of the role P(opendev.firehose.firehose_public#role) has them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ firehose_listeners | opendev.firehose.firehose_public_listeners }}"
"""

RETURN = r"""
_value:
  description:
    - The port and the protocol of each; C(tls), if it wants that; the C(address) that it is bound to, if there is one; and C(not_checked),
      why it is not, if it is not.
  type: list
  elements: dict
"""

import typing as t

from ansible_collections.opendev.firehose.plugins.plugin_utils import _firehose


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"firehose_public_listeners": _firehose.public_listeners}
