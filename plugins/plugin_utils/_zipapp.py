# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Build a single-file Python program from packages, with the same bytes every time, unlike the standard library's zipapp."""

from __future__ import annotations

import io
import pathlib
import typing as t
import zipfile

# The earliest time that a ZIP archive supports.
NO_TIME = (1980, 1, 1, 0, 0, 0)


MODULE_UTILS = pathlib.Path(__file__).parent.parent / "module_utils"
PACKAGE = "ansible_collections/opendev/firehose/plugins/module_utils"


def _module_utils(packages: t.Iterable[str]) -> dict[str, bytes]:
    """Packages of this collection, where Python finds them under the same names as in modules."""
    levels = PACKAGE.split("/")
    files = {"/".join([*levels[:depth], "__init__.py"]): b"" for depth in range(1, len(levels) + 1)}
    for package in packages:
        for path in (MODULE_UTILS / package).rglob("*.py"):
            files[f"{PACKAGE}/{path.relative_to(MODULE_UTILS).as_posix()}"] = path.read_bytes()
    return files


def build(folder: pathlib.Path, main: str, interpreter: str, module_utils: t.Sequence[str] = ()) -> bytes:
    """The archive of the Python files below a folder, which runs a function named as ``package.module:function``."""
    module, function = main.split(":")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")}
    if module_utils:
        files |= _module_utils(module_utils)
    files["__main__.py"] = f"import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n".encode()
    archive = io.BytesIO(f"#!{interpreter}\n".encode())
    archive.seek(0, io.SEEK_END)
    # Not compressed: compressed bytes depend on the library's version.
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as packed:
        for name in sorted(files):
            packed.writestr(zipfile.ZipInfo(name, NO_TIME), files[name])
    return archive.getvalue()
