# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module validate_role, which runs on the control node only."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars
from ansible_collections.opendev.firehose.plugins.plugin_utils import (
    _firehose_problems,
    _firehose_public,
    _germqtt,
    _mosquitto,
    _names,
    _types,
)

# By role and entry point: what lists the problems of variables, given the options of the argument specs. Those of role mosquitto
# take its version too.
CHECKS: dict[tuple[str, str], t.Callable[..., list[str]]] = {
    ("firehose", "main"): _firehose_problems.problems,
    ("firehose", "publisher"): _firehose_problems.publisher_problems,
    ("firehose", "verify"): _firehose_problems.verify_problems,
    ("firehose_public", "main"): _firehose_public.edge_problems,
    ("firehose_public", "validate"): _firehose_public.problems,
    ("germqtt", "main"): _germqtt.problems,
    ("mosquitto", "main"): _mosquitto.problems,
    ("mosquitto", "account"): _mosquitto.account_problems,
}
# What warns of values that are valid.
WARNINGS = {("firehose_public", "validate"): _firehose_public.memory_warnings}


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            {
                "role": {"type": "str", "required": True},
                "entry_point": {"type": "str", "default": "main"},
                "values": {"type": "dict", "default": {}},
                "mosquitto_version": {"type": "str", "default": ""},
                "replacements": {"type": "dict", "default": {}},
                "set_by_role": {"type": "list", "elements": "str", "default": []},
            }
        )
        role, entry_point = args["role"], args["entry_point"]
        if (role, entry_point) not in CHECKS:
            known = ", ".join(" ".join(pair) for pair in CHECKS)
            raise AnsibleActionFail(f"role and entry_point: {role} {entry_point} is not one of {known}")
        options = _names.options(role, entry_point)
        variables = {**self._values(options, task_vars or {}), **args["values"]}
        if entry_point == "main":
            self._warn(role, task_vars or {}, args["replacements"])
        version = [args["mosquitto_version"]] if role == "mosquitto" else []
        problems = self._command_line_problems(role, {*args["replacements"], *args["set_by_role"]})
        converted = _types.converted(variables, options)
        problems += CHECKS[role, entry_point](converted, options, *version)
        result.update(changed=False, problems=problems)
        if problems:
            result.update(failed=True, msg="\n".join(problems))
        elif (role, entry_point) in WARNINGS:
            for warning in WARNINGS[role, entry_point](converted):
                Display().warning(warning)
        return result

    def _values(self, names: t.Iterable[str], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        values: dict[str, t.Any] = {}
        for name in names:
            if name in task_vars:
                try:
                    # In a dictionary, from which a variable that is omitted drops out.
                    values |= self._templar.template({name: task_vars[name]})
                except AnsibleError as exc:
                    raise AnsibleActionFail(f"{name}: {exc}") from exc
        return values

    def _command_line_problems(self, role: str, names: set[str]) -> list[str]:
        """Values from the command line would take the place of those that the role itself gives to other roles."""
        return [
            f"{name}: remove it from the command line (-e): role {role} sets this variable itself"
            for name in sorted(names & load_extra_vars(self._loader).keys())
        ]

    def _warn(self, role: str, task_vars: dict[str, t.Any], replacements: dict[str, str]) -> None:
        own = [name for name in task_vars if name.startswith(f"{role.partition('_')[0]}_")]
        replaced = self._values(replacements, task_vars)
        for warning in _names.unknown_warnings(own) + _names.replaced_warnings(replaced, replacements):
            Display().warning(warning)
