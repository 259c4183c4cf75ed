# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module costs that takes the arguments of mosquitto_users and does nothing.

For localhost only, where the collection can be imported: Ansible packs no module along with another one.
"""

from __future__ import annotations

from ansible_collections.opendev.firehose.plugins.module_utils._quiet import QuietModule
from ansible_collections.opendev.firehose.plugins.modules.mosquitto_users import ARGUMENT_SPEC

if __name__ == "__main__":
    module = QuietModule(argument_spec=ARGUMENT_SPEC, add_file_common_args=True, supports_check_mode=True)
    module.exit_json(changed=False)
