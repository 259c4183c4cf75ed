# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of a module with the arguments of mosquitto_users that does nothing.

For localhost only, where the collection can be imported: Ansible does not package a module together with another one. It would
package the modules of an import statement, and then only those could be imported.
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
