# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """What every module of the collection says of check mode, diff mode and idempotence."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict the result without changing anything.
  diff_mode:
    description: Shows in diff mode what changes, or what would change in check mode.
  idempotent:
    description: A second run with the same arguments changes nothing.
"""

    # Modules that only look
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing, and runs in check mode as always.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
"""

    ACTIONGROUP_MQTT = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/opendev.firehose.mqtt) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - opendev.firehose.mqtt
"""
