# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module costs that takes the arguments of mosquitto_users and does nothing.

For localhost only, where the collection can be imported: Ansible packs no module along with another one. It would pack
what an import statement names, and then only that could be imported.
"""

from __future__ import annotations

import importlib

from ansible.module_utils.basic import AnsibleModule

PLUGINS = "ansible_collections.opendev.firehose.plugins"

if __name__ == "__main__":
    users = importlib.import_module(f"{PLUGINS}.modules.mosquitto_users")
    quiet = importlib.import_module(f"{PLUGINS}.module_utils._host.quiet")
    module: AnsibleModule = quiet.QuietModule(
        argument_spec=users.ARGUMENT_SPEC, add_file_common_args=True, supports_check_mode=True
    )
    module.exit_json(changed=False)
