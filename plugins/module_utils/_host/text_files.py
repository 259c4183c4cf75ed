# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories and text files that belong together: their problems, how they are written, and their diffs."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import locked_file

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

Options = t.Dict[str, t.Any]  # noqa: UP006 # evaluated at run time, where Python 3.8 needs it
Diffs = t.List[Options]  # noqa: UP006 # evaluated at run time, where Python 3.8 needs it


def tidy(entries: t.Iterable[Options]) -> list[Options]:
    """The entries with normalized paths. A path that does not begin with a slash stays unchanged."""
    return [
        {**entry, "path": re.sub("^/.*", lambda path: os.path.normpath(f"/{path[0].lstrip('/')}"), entry["path"])}
        for entry in entries
    ]


def problems(directories: t.Sequence[Options], files: t.Sequence[Options], *, check_owners: bool) -> list[str]:
    """The problems of tidy entries, and obstacles to them on this host; each with the entry's name."""
    found: list[str] = []
    names: dict[str, str] = {}
    folders = {entry["path"] for entry in directories}
    for kind, entries in (("directories", directories), ("files", files)):
        for number, entry in enumerate(entries):
            path, name = entry["path"], f"{kind}[{number}]"
            here = [_place_problem(path, folders), _mode_problem(entry["mode"])]
            if names.setdefault(path, name) != name:
                here.append(f"{names[path]} has the same path")
            if kind == "directories" and os.path.lexists(path) and not os.path.isdir(path):
                here.append("is there, and is not a directory")
            if kind == "files" and not _is_utf8(entry["content"]):
                here.append("the content is not UTF-8")
            if check_owners:
                here.append(locked_file.missing_owner(entry))
            found += [f"{name} ({path}): {problem}" for problem in here if problem]
    return found


def _place_problem(path: str, folders: t.Container[str]) -> str:
    parent = os.path.dirname(path)
    if not path.startswith("/"):
        return "the path does not begin with '/'"
    if parent in folders or os.path.isdir(parent):
        return ""
    return f"there is no directory {parent}, neither on this host nor among the directories"


def _mode_problem(mode: object) -> str:
    # YAML may have converted octal digits to another number.
    if mode is None or (isinstance(mode, str) and re.fullmatch("0?[0-7]{3,4}", mode)):
        return ""
    return f"the mode {mode!r} is no octal number as text, such as '0640'"


def _is_utf8(content: str) -> bool:
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


def put_directory(module: AnsibleModule, entry: Options) -> Diffs:
    """Create a directory, and set its owner, group and mode. Return the diffs."""
    path = entry["path"]
    is_new = not os.path.isdir(path)
    made = [_diff(path, "absent\n", "directory\n")] if is_new else []
    if is_new and module.check_mode:
        return made
    if is_new:
        # No other user can enter it until it has its attributes.
        os.mkdir(path, 0o700)
    attributes: Options = {}
    # A link to a directory has no mode of its own.
    locked_file.set_attributes(module, entry, os.path.realpath(path), attributes)
    return made or _attributes_diff(path, attributes)


def refusal(file: locked_file.TextFile, *, others_changed: bool) -> str:
    """The error of the validate command for a new text; empty if the text is valid."""
    command, content = file.options["validate"], file.options["content"]
    if not command or file.module.check_mode or (content == file.content and not others_changed):
        return ""
    candidate = file.candidate(content)
    code, output, error = file.module.run_command([word.replace("%s", candidate) for word in command])
    said = "\n".join(text.strip().replace(candidate, file.path) for text in (error, output) if text.strip())
    return f"it is not valid: {said or f'{command[0]} ended with {code}'}" if code else ""


def put_file(file: locked_file.TextFile) -> Diffs:
    """Write a file with content, owner, group and mode. Return the diffs, without the text if it is secret."""
    before, after = file.content, file.options["content"]
    _changed, attributes = file.put(after)
    written: Diffs = []
    if before != after:
        texts = (before or "", after)
        if file.options["secret"]:
            texts = ("a secret text\n", "another secret text\n") if before is not None else ("", "a secret text\n")
        written = [_diff(file.path, *texts)]
    return written + _attributes_diff(file.path, attributes)


def _diff(header: str, before: object, after: object) -> dict[str, t.Any]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _attributes_diff(path: str, attributes: Options) -> Diffs:
    return [_diff(f"{path} (attributes)", attributes["before"], attributes["after"])] if attributes else []
