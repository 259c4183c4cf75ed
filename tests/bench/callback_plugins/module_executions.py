# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the modules that were executed on hosts."""

from __future__ import annotations

import functools
import os
import pathlib
import typing as t

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: module_executions
type: aggregate
short_description: Write down which modules were executed on hosts
description:
  - Appends the name of each module to a file when an action has it executed on a host. An action such as C(template) does so
    more than once, others not at all.
  - What is executed on the controller is not counted.
requirements:
  - the environment variable E(MODULE_EXECUTIONS_FILE), which names the file
"""


def write_down(execute: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    """Wrap the method with which every action executes its modules."""

    @functools.wraps(execute)
    def executed(self: ActionBase, module_name: str | None = None, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if self._connection.transport != "local":
            # Tasks run in separate processes: each line is one write to the end of the file.
            with pathlib.Path(os.environ["MODULE_EXECUTIONS_FILE"]).open("a", encoding="utf-8") as file:
                file.write(f"{module_name or self._task.action}\n")
        return execute(self, module_name, *args, **kwargs)

    return executed


class CallbackModule(CallbackBase):
    """Only has to be loaded before the process of the first task is forked."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        ActionBase._execute_module = write_down(ActionBase._execute_module)
