#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
short_description: Put directories and text files in place, all of them at once
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Brings several directories and small text files of a host in place with one visit to it. A task with M(ansible.builtin.template) or
    M(ansible.builtin.copy) for each file goes there twice for each.
  - Everything is looked at before anything is changed. If something fails nevertheless, the message names the file, and what was changed
    until then stays; a second run does the rest. After a failed O(files[].validate) the texts of all files are what they were.
  - A file is replaced as a whole. A new one is readable for nobody but its owner until it gets the wanted owner, group and mode; an
    existing one gets them before its new text.
  - Runs at the same time wait for each other. A file that another program changes meanwhile is left as that program wrote it, and
    the module fails.
  - The contents do not appear in the host's log, nor in the result, but for the diff and O(previous) of files that are not secret.
extends_documentation_fragment:
  - opendev.firehose._attributes
attributes:
  check_mode:
    support: full
    details:
      - Whether owners and groups exist is not asked in check mode, since earlier tasks may be what would make them.
  diff_mode:
    support: full
    details:
      - Of a file with O(files[].secret=true) it only says that the text is another one.
  idempotent:
    support: full
options:
  directories:
    description: The directories, of which each is made before those below it and before the files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - The directory, from V(/) on. The directory above it has to exist, or to be one of O(directories) itself.
          - A symbolic link to a directory is followed.
        type: path
        required: true
      owner: &owner
        description: The name or number of the user who owns it. If this is not given, it stays, or is the user that the module runs as.
        type: str
      group: &group
        description: The name or number of its group. If this is not given, it stays, or is that of the user that the module runs as.
        type: str
      mode:
        description: Its permissions as an octal number in quotes, such as V('0750'). If this is not given, they stay, or are V('0700').
        type: raw
  files:
    description: The files. They are written in the order in which they stand here.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - The file, from V(/) on. Its directory has to exist, or to be one of O(directories).
          - A symbolic link is rejected.
        type: path
        required: true
      content:
        description:
          - All of its text, which is stored in UTF-8.
          - Either this or O(files[].template) is required.
        type: str
      template:
        description:
          - The template of its text, which is looked for as M(ansible.builtin.template) does it.
        type: str
        version_added: 3.0.0
      vars:
        description: Variables for O(files[].template), in addition to those of the task.
        type: dict
        version_added: 3.0.0
      owner: *owner
      group: *group
      mode:
        description: Its permissions as an octal number in quotes, such as V('0640'). If this is not given, they stay, or are V('0600').
        type: raw
      secret:
        description: Whether the diff only says that the text changes, and shows none of it.
        type: bool
        default: false
      validate:
        description:
          - A command, as a list of its words, that is run before a new text takes the place of the old one. Where V(%s) stands in a word it gets
            the path of a file with the new text, which only the module's user can read. The files before this one are in place by then, and
            when one of them was changed it is run too.
          - If it does not end with 0, this file and those before it are what they were, and the module fails with what the command said,
            so that it must not print secrets.
          - It is not run in check mode.
        type: list
        elements: str
        version_added: 3.0.0
  previous:
    description: Whether to return the previous content of files that are not secret, so that a later task can put it back.
    type: bool
    default: false
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.file
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: Write what a service needs
  opendev.firehose.text_files:
    directories:
      - path: /etc/statistics
        owner: root
        group: daemon
        mode: "0750"
    files:
      - path: /etc/statistics/password
        content: "{{ vault_statistics_mqtt_password }}\n"
        owner: root
        group: daemon
        mode: "0640"
        secret: true
      - path: /etc/statistics/topics.json
        content: |
          ["gerrit/#", "zuul/#"]
        owner: root
        group: daemon
        mode: "0640"
        validate: [/usr/bin/python3, -m, json.tool, "%s"]
      - path: /etc/systemd/system/statistics.service
        content: |
          [Service]
          ExecStart=/usr/local/bin/statistics /etc/statistics/password
          User=daemon
        owner: root
        group: root
        mode: "0644"
  become: true
"""

RETURN = r"""
changed_paths:
  description:
    - The directories and files that were changed, or would be in check mode.
    - If the module fails, those that it had changed until then.
  returned: always
  type: list
  elements: str
  sample: [/etc/statistics/password]
previous:
  description: The content that changed files had before, as O(files) takes it, without new files and secret ones.
  returned: success and O(previous=true)
  type: list
  elements: dict
  sample: [{path: /etc/statistics/statistics.conf, content: "interval = 10"}]
"""

import contextlib
import os
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file, quiet, text_files

ATTRIBUTES: dict[str, t.Any] = {"owner": {"type": "str"}, "group": {"type": "str"}, "mode": {"type": "raw"}}
ARGUMENT_SPEC: dict[str, t.Any] = {
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, **ATTRIBUTES},
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "template": {"type": "str"},
            "vars": {"type": "dict"},
            **ATTRIBUTES,
            # no_log is said outright, since Ansible takes an option of this name for one that holds a secret.
            "secret": {"type": "bool", "default": False, "no_log": False},
            "validate": {"type": "list", "elements": "str"},
        },
        "mutually_exclusive": [["content", "template"]],
        "required_one_of": [["content", "template"]],
        "required_by": {"vars": ["template"]},
    },
    "previous": {"type": "bool", "default": False},
}
# Ansible would return all options, and the contents among them.
INVOCATION = {"module_args": "not shown, since contents may be secrets"}


class Module(quiet.QuietModule):
    """A module that has changed some paths already when it fails, and says which one it failed at."""

    changed_paths: t.Sequence[str] = ()

    def fail_json(self, msg: str, **details: t.Any) -> t.NoReturn:
        """Fail, naming the path that Ansible's own functions mention beside their message."""
        path = str(details.get("path", ""))
        super().fail_json(
            msg=msg if path in msg else f"{path}: {msg}",
            changed=bool(self.changed_paths),
            changed_paths=list(self.changed_paths),
            invocation=INVOCATION,
            **details,
        )


def opened(
    module: Module, entries: t.Sequence[text_files.Options], stack: contextlib.ExitStack
) -> list[locked_file.TextFile]:
    """The files, read, in the order of their entries. Their directories are locked, but for those that have yet to be made."""

    def directory(entry: text_files.Options) -> str:
        return os.path.realpath(os.path.dirname(entry["path"]))

    files: dict[str, locked_file.TextFile] = {}
    locked: set[str] = set()
    # Runs at the same time lock directories in the same order, so that none waits for the other.
    for entry in sorted(entries, key=directory):
        lock = os.path.isdir(directory(entry)) and directory(entry) not in locked
        locked.add(directory(entry))
        files[entry["path"]] = stack.enter_context(locked_file.TextFile(module, entry, lock=lock))
    return [files[entry["path"]] for entry in entries]


def previous(files: t.Iterable[locked_file.TextFile], changed_paths: t.Container[str]) -> list[dict[str, str]]:
    """The content that files had before they were changed, as the option files takes it. New and secret ones are left out."""
    return [
        {"path": file.path, "content": file.content}
        for file in files
        if file.path in changed_paths and file.content is not None and not file.options["secret"]
    ]


def main() -> t.NoReturn:
    module = Module(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    directories, entries = (text_files.tidy(module.params[kind]) for kind in ("directories", "files"))
    problems = text_files.problems(directories, entries, check_owners=not module.check_mode)
    if problems:
        module.fail_json(msg="; ".join(problems))

    module.changed_paths = changed_paths = []
    diff: text_files.Diffs = []

    def put(path: str, put_it: t.Callable[[], text_files.Diffs]) -> None:
        try:
            changes = put_it()
        except OSError as exc:
            module.fail_json(msg=f"{path} was not changed: {exc.strerror}")
        if changes:
            changed_paths.append(path)
            diff.extend(changes)

    with contextlib.ExitStack() as stack:
        files = opened(module, entries, stack)
        # Each comes before those below it.
        for entry in sorted(directories, key=lambda entry: entry["path"]):
            put(entry["path"], lambda entry=entry: text_files.put_directory(module, entry))
        for number, file in enumerate(files):
            problem = text_files.refusal(file, others_changed=bool(changed_paths))
            if problem:
                for before in reversed(files[:number]):
                    before.put_back()
                module.changed_paths = [path for path in changed_paths if path not in {other.path for other in files}]
                file.fail(f"was not changed: {problem}")
            put(file.path, lambda file=file: text_files.put_file(file))
    module.exit_json(
        changed=bool(changed_paths),
        changed_paths=changed_paths,
        invocation=INVOCATION,
        **({"diff": diff} if module._diff else {}),
        **({"previous": previous(files, changed_paths)} if module.params["previous"] else {}),
    )


if __name__ == "__main__":
    main()
