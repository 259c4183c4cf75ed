# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the module text_files that runs on the control node: it renders templates."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

Entry = dict[str, t.Any]


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        files = args.get("files")
        # What is no list of dictionaries the module rejects.
        if isinstance(files, list):
            args["files"] = [self._rendered(entry, task_vars or {}) for entry in files]
        return self._execute_module(module_name="opendev.firehose.text_files", module_args=args, task_vars=task_vars)

    def _rendered(self, entry: t.Any, task_vars: dict[str, t.Any]) -> t.Any:
        """The entry with the text of its template as its content."""
        if not isinstance(entry, dict) or entry.get("template") is None or entry.get("content") is not None:
            return entry
        lookup = self._shared_loader_obj.lookup_loader.get(
            "ansible.builtin.template", loader=self._loader, templar=self._templar
        )
        [text] = lookup.run([entry["template"]], task_vars, template_vars=entry.get("vars") or {})
        others = {key: value for key, value in entry.items() if key not in ("template", "vars")}
        return {**others, "content": text}
