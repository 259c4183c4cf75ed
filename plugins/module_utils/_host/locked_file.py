# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small text file that modules update: one module at a time, and always as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import stat
import tempfile
import time
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from ansible.module_utils.basic import AnsibleModule

LOCK_TIMEOUT = 30.0
LOCK_PAUSE = 0.1


def missing_owner(options: t.Mapping[str, t.Any]) -> str:
    """Say in one sentence which owner or group of the options does not exist; empty if both exist."""
    for option, look_up in (("owner", pwd.getpwnam), ("group", grp.getgrnam)):
        name = options.get(option)
        if name and not name.isdigit():
            try:
                look_up(name)
            except KeyError:
                return f"{option} {name!r} does not exist on this host"
    return ""


def set_attributes(module: AnsibleModule, options: t.Mapping[str, t.Any], path: str, diff: dict[str, t.Any]) -> bool:
    """Set the owner, group and mode of the options on a path. Return whether that changes it; diff gets the attributes."""
    if module.check_mode and missing_owner(options):
        # Outside check mode an earlier task of the same run would have created them.
        diff["before"] = {}
        diff["after"] = {option: options[option] for option in ("owner", "group") if options.get(option)}
        return True
    arguments = module.load_file_common_arguments(options, path=path)
    return module.set_fs_attributes_if_different(arguments, False, diff)


class TextFile:
    """A UTF-8 file at the ``path`` of a module's options, or of other given options: its content, or None if there is no file.

    Entering the context reads the file. A module that writes holds a lock on the directory until it leaves the context, so
    that no other module's change is lost. The module fails if the path exists and is no regular, readable file.
    """

    def __init__(
        self, module: AnsibleModule, options: t.Mapping[str, t.Any] | None = None, *, lock: bool = True
    ) -> None:
        self.module = module
        self.options = module.params if options is None else options
        self.path: str = self.options["path"]
        self._directory = os.path.dirname(os.path.abspath(self.path))
        self._lock = lock and not module.check_mode

    def __enter__(self) -> TextFile:
        with contextlib.ExitStack() as stack:
            if self._lock:
                stack.callback(os.close, self._locked_directory())
            self._status = self._stat()
            self.content = self._read()
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._held.close()

    def fail(self, problem: str) -> t.NoReturn:
        """Fail the module with the path of the file and the problem."""
        self.module.fail_json(msg=f"{self.path}{'' if problem.startswith(',') else ' '}{problem}")

    def _locked_directory(self) -> int:
        # A directory can be locked without leaving a file behind. The lock ends with its descriptor.
        try:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            self.fail(f"cannot be written: directory {self._directory}: {exc.strerror}")
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self.fail(f"is held by another run: its directory has been locked for {LOCK_TIMEOUT:g} seconds")
                time.sleep(LOCK_PAUSE)
            except OSError as exc:
                self.fail(f"cannot be written: directory {self._directory} cannot be locked: {exc.strerror}")

    def _stat(self) -> tuple[int, int, int] | None:
        if os.path.islink(self.path):
            self.fail("is a symbolic link, which is not followed; name the file itself")
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            self.fail(f"cannot be read: {exc.strerror}")
        if not stat.S_ISREG(status.st_mode):  # reading a FIFO would block
            self.fail("is not a regular file")
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> str | None:
        if self._status is None:
            return None
        try:
            with open(self.path, "rb") as file:
                content = file.read()
        except OSError as exc:
            self.fail(f"cannot be read: {exc.strerror}")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as exc:
            line = content.count(b"\n", 0, exc.start) + 1
            self.fail(f", line {line}: not UTF-8")

    def put(self, content: str) -> tuple[bool, dict[str, t.Any]]:
        """Write this text, with the owner, group and mode of the options. Return whether that changed the file, and the changed attributes.

        Check mode changes nothing. No user can ever read the new text against the attributes: a new file is readable only by
        its owner until they are set, and an existing file gets them before the text.
        """
        changed = content != self.content
        diff: dict[str, t.Any] = {}
        if not self.module.check_mode:
            self._check_owners()
            if changed:
                self._replace(content, diff)
        if self._status is None:
            # A new file's attributes before the wanted ones do not belong into the diff.
            if not self.module.check_mode:
                self._set_attributes({})
            return changed, {}
        return self._set_attributes(diff) or changed, diff

    def _set_attributes(self, diff: dict[str, t.Any], **instead: t.Any) -> bool:
        return set_attributes(self.module, {**self.options, **instead}, self.path, diff)

    def _check_owners(self) -> None:
        """Fail for an owner or a group that does not exist, before the file is changed."""
        missing = missing_owner(self.options)
        if missing:
            self.fail(f"was not changed: {missing}")

    def candidate(self, content: str) -> str:
        """Write a text beside the file, readable only by this module's user, and return the path."""
        os.umask(0o077)
        try:
            # In the same directory, so that the file is replaced by one rename.
            descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=f".{os.path.basename(self.path)}.")
            self.module.add_cleanup_file(temporary)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            self.fail(f"was not changed: {exc.strerror}")
        return temporary

    def put_back(self) -> None:
        """Restore the file as it was on entry: its text, or no file."""
        if self.module.check_mode or self._stat() == self._status:
            return
        if self.content is None:
            os.unlink(self.path)
        else:
            self._move(self.candidate(self.content))

    def _move(self, temporary: str) -> None:
        self.module.atomic_move(temporary, self.path, unsafe_writes=self.options.get("unsafe_writes", False))

    def _replace(self, content: str, diff: dict[str, t.Any]) -> None:
        temporary = self.candidate(content)
        if self._stat() != self._status:
            self.fail("was changed by another program in the meantime, and not by this module; run it again")
        if self._status is not None:
            # The new file inherits owner and mode of the old one. The attributes of chattr could prevent the replacement.
            self._set_attributes(diff, attributes=None)
        self._move(temporary)
