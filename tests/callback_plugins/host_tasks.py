# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the tasks that reached a host, and the tasks that changed it."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: host_tasks
type: aggregate
short_description: Write down which tasks reached a host
description:
  - At the end of a run the JSON file maps each host to the names of the tasks that reached it and of those that
    changed it, once for each item of a loop.
  - Skipped tasks reach no host, nor do actions that the controller does by itself.
requirements:
  - the environment variable E(HOST_TASKS_FILE), which names the JSON file
"""

CONTROLLER_ACTIONS = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "group_by",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "opendev.firehose.validate_role",
    "pause",
    "set_fact",
    "set_stats",
    "validate_argument_spec",
}


def reaches_host(task: t.Any) -> bool:
    """Whether a task makes the controller connect to its host. Unknown tasks count as such."""
    action = task.action.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    return action not in CONTROLLER_ACTIONS and task.delegate_to != "localhost"


class CallbackModule(CallbackBase):
    """Collects the names by host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "host_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._hosts: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: {"reached": [], "changed": []})

    def _item(self, result: t.Any) -> None:
        host = self._hosts[result.host.get_name()]
        if reaches_host(result.task):
            host["reached"].append(result.task.get_name())
        if result.is_changed():
            host["changed"].append(result.task.get_name())

    def _task(self, result: t.Any, **_kwargs: t.Any) -> None:
        if result.task.loop is None:
            self._item(result)

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_unreachable = _task
    v2_runner_item_on_ok = v2_runner_item_on_failed = _item

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Write the file."""
        pathlib.Path(os.environ["HOST_TASKS_FILE"]).write_text(json.dumps(self._hosts, indent=1), encoding="utf-8")
