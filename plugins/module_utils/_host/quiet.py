# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules with secrets in lists of options."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


class QuietModule(AnsibleModule):
    """A module that does not write its options to the host's log.

    Ansible logs a list of dictionaries in Python's notation, with escapes, and looks for secrets without escapes. So it
    does not find, and logs, a password that has a backslash or both kinds of quotes.
    """

    def _log_invocation(self) -> None:
        self.log(f"Invoked, without its options: {self._name}")
