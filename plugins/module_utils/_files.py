# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""Reading and writing small text files with secrets in them."""

from __future__ import annotations

import os
import tempfile
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule


def read_text(module: AnsibleModule, path: str) -> str | None:
    """Read a UTF-8 file; None if there is none. Fails the module on anything that is no plain readable file."""
    if os.path.islink(path):
        module.fail_json(msg=f"{path} is a symbolic link, which Mosquitto 2.1 refuses to follow; name the file itself")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        module.fail_json(msg=f"cannot read {path}: {exc.strerror}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        module.fail_json(msg=f"{path}, line {line}: not UTF-8")


def write_secret(module: AnsibleModule, path: str, content: str) -> None:
    """Put a file in place as a whole. Nobody but its owner can read it before the module sets its attributes."""
    os.umask(0o077)
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    module.add_cleanup_file(temporary)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        module.fail_json(msg=f"cannot write {path}: {exc.strerror}")
    module.atomic_move(temporary, path)
