# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the module zipapp that runs on the control node: all of it but what ansible.builtin.copy does."""

from __future__ import annotations

import pathlib
import re
import tempfile
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.opendev.firehose.plugins.plugin_utils import _zipapp

MAIN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            {
                "src": {"type": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "main": {"type": "str", "required": True},
                "module_utils": {"type": "list", "elements": "str", "default": []},
                "interpreter": {"type": "str", "default": "/usr/bin/python3"},
                "owner": {"type": "str"},
                "group": {"type": "str"},
                "mode": {"type": "raw", "default": "0755"},
            }
        )
        if not MAIN.fullmatch(args["main"]):
            raise AnsibleActionFail(f"main: {args['main']!r} is not of the form 'package.module:function'")
        folder = pathlib.Path(self._find_needle("files", args["src"]))
        if not folder.is_dir():
            raise AnsibleActionFail(f"src: {folder} is not a directory")
        try:
            program = _zipapp.build(folder, args["main"], args["interpreter"], args["module_utils"])
        except FileNotFoundError as exc:
            raise AnsibleActionFail(f"module_utils: there is no {exc.filename}") from None
        with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP) as archive:
            archive.write(program)
            archive.flush()
            return self._copy(archive.name, args, task_vars)

    def _copy(self, src: str, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        task = self._task.copy()
        task.args = {"src": src} | {
            name: args[name] for name in ("dest", "owner", "group", "mode") if args[name] is not None
        }
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return action.run(task_vars=task_vars)
