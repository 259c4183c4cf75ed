# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of files: all files that a broker reads, in one directory, behind a link that is switched atomically.

A set never changes once it is complete. A host that crashes at any moment starts with the old set or the new one.

A set has each file twice. The broker owns the copies that it reads, since Mosquitto warns about other owners. Root reads and
restores only C(kept.json), which no other user can open: a compromised broker cannot change what root does.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import functools
import grp
import json
import os
import pathlib
import pwd
import shutil
import stat
import tempfile
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._host import secret_files

from mosquitto_apply import config
from mosquitto_apply.instance import Instance
from mosquitto_apply.problem import Problem

CONFIG = "mosquitto.conf"
# Root's own copy of all files, with their owners and modes. Sets of earlier versions have none.
KEPT = "kept.json"
LOCK_TIMEOUT = 120.0


class File(t.NamedTuple):
    """A file with its owner and mode."""

    content: bytes
    uid: int
    gid: int
    mode: int


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one configuration by path, and the parsed mosquitto.conf."""

    instance: Instance
    by_path: dict[str, File]

    @property
    def text(self) -> str:
        """The text of mosquitto.conf."""
        return self.by_path[str(self.instance.config)].content.decode()

    @property
    def unit(self) -> str:
        """The text of the unit."""
        return self.by_path[str(self.instance.unit_file)].content.decode(errors="replace")

    @property
    def lines(self) -> list[config.Line]:
        """The options of mosquitto.conf."""
        return config.parse(self.text)

    @property
    def listeners(self) -> list[config.Listener]:
        """The listeners."""
        return config.listeners(self.lines)

    def content(self, option: str) -> bytes | None:
        """The content of the file that a global option names, None if there is no such option."""
        paths = config.values(self.lines, option)
        return self.by_path[paths[0]].content if paths else None

    def difference(self, other: Files | None) -> set[str]:
        """The paths of files whose content differs, or that only one of the two has."""
        mine = {path: file.content for path, file in self.by_path.items()}
        others = {path: file.content for path, file in other.by_path.items()} if other else {}
        return {path for path in mine.keys() | others.keys() if mine.get(path) != others.get(path)}


def _read(path: pathlib.Path, named_by: str = "") -> File:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Problem(f"{named_by}{path} is not a regular file")
            return File(file.read(), status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    except OSError as exc:
        raise Problem(f"{named_by}{path} cannot be read: {exc.strerror}") from None


def decoded(path: str, content: bytes) -> str:
    """The text of a file, which has to be UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise Problem(f"{path}, line {line}: not UTF-8") from None


def _word(path: pathlib.Path, named_by: str, *, make: bool) -> File:
    """A file with one secret. A missing secret is generated, and with make written to the file."""
    try:
        if secret_files.read(str(path)) is None:
            if not make:
                return File(secret_files.new().encode(), 0, 0, secret_files.MODE)
            secret_files.make(str(path))
    except secret_files.WordError as exc:
        raise Problem(f"{named_by}{exc}") from None
    return _read(path, named_by)


def find(instance: Instance, *, make: bool = False) -> Files:
    """Read mosquitto.conf, the files that it names, and the unit. With make, missing secrets are written."""
    path = str(instance.config)
    by_path = {path: _read(instance.config)}
    lines = config.parse(decoded(path, by_path[path].content))
    config.check(lines, path)
    for line in config.files(lines):
        by_path[line.value] = _read(pathlib.Path(line.value), f"{path}, line {line.number}: {line.option}: ")
    for line in config.words(lines):
        by_path[line.value[1:]] = _word(
            pathlib.Path(line.value[1:]), f"{path}, line {line.number}: {line.option}: ", make=make
        )
    by_path[str(instance.unit_file)] = _read(instance.unit_file)
    return Files(instance, by_path)


def load(instance: Instance, folder: pathlib.Path | None) -> Files | None:
    """The files of a set, None if there is no such set, or if the broker's copies differ from root's."""
    files = kept(instance, folder)
    if folder is None or files is None:
        return None
    copies = for_broker(files)
    try:
        return files if {path: _copy(folder / path) for path in copies} == copies else None
    except OSError:
        return None


def _copy(path: pathlib.Path) -> bytes | None:
    """Read the broker's copy of a file without blocking. With a lease or a FIFO the broker could block root."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def kept(instance: Instance, folder: pathlib.Path | None) -> Files | None:
    """The files of a set from root's copy, None if there is no such set, or if an earlier version wrote it."""
    try:
        return Files(instance, _unpacked((folder / KEPT).read_bytes())) if folder else None
    except FileNotFoundError:
        return None


def for_broker(files: Files) -> dict[str, bytes]:
    """The files that the broker reads, by path within a set. The unit and files that only root needs are left out."""
    words = {
        line.value[1:]: files.by_path[line.value[1:]].content.decode().strip() for line in config.words(files.lines)
    }
    text = config.in_set(files.text, f"{files.instance.live}/files", words)
    named = {line.value for line in config.files(files.lines)}
    return {CONFIG: text.encode(), **{f"files{path}": files.by_path[path].content for path in named}}


def _packed(files: Files) -> bytes:
    """All files as JSON."""
    entries = {path: [base64.b64encode(file.content).decode(), *file[1:]] for path, file in files.by_path.items()}
    return json.dumps(entries, indent=1).encode()


def _unpacked(text: bytes) -> dict[str, File]:
    return {path: File(base64.b64decode(content), *owner) for path, (content, *owner) in json.loads(text).items()}


def _write(path: pathlib.Path, content: bytes, uid: int, gid: int, mode: int) -> None:
    """Write a new file, with mode 0600 until its owner is set."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def sync(folder: pathlib.Path) -> None:
    """Sync a directory, so that the names of its files are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Sets:
    """The sets of one broker."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @functools.cached_property
    def _broker(self) -> tuple[int, int]:
        """The user and group of the broker. In check mode on a host without the broker there are none."""
        try:
            return pwd.getpwnam(self.instance.user).pw_uid, grp.getgrnam(self.instance.user).gr_gid
        except KeyError:
            raise Problem(
                f"there is no user and group {self.instance.user}: is the package installed, and has the role run?"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Lock the sets against other changes."""
        if not self.instance.sets.is_dir():
            self.instance.sets.mkdir()
        descriptor = os.open(self.instance.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + LOCK_TIMEOUT
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Problem(
                            f"another change of the same broker has been under way for {LOCK_TIMEOUT:g} s"
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)

    def _make_ours(self, folder: pathlib.Path) -> None:
        os.chown(folder, 0, self._broker[1])
        folder.chmod(0o750)

    def live(self) -> pathlib.Path | None:
        """The directory of the set that the broker reads, None if it has none."""
        return self._target(self.instance.live)

    def loaded(self) -> pathlib.Path | None:
        """The directory of the set that the running broker has read, None if that is not known."""
        return self._target(self.instance.loaded)

    def _target(self, link: pathlib.Path) -> pathlib.Path | None:
        try:
            folder = self.instance.sets / link.readlink().name
        except OSError:
            return None
        return folder if folder.is_dir() else None

    def add(self, files: Files) -> pathlib.Path:
        """Write a set that is not in use yet, and return its directory."""
        folder = None
        try:
            now = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime())
            folder = pathlib.Path(tempfile.mkdtemp(prefix=now, dir=self.instance.sets))
            for path, content in for_broker(files).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _write(folder / path, content, *self._broker, 0o400)
            _write(folder / KEPT, _packed(files), 0, 0, 0o400)
            for parent in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                self._make_ours(parent)
                sync(parent)
            # Only the broker can read its set. The user of an earlier version needs this path until the broker restarts.
            os.chown(self.instance.sets, 0, 0)
            self.instance.sets.chmod(0o711)
            sync(self.instance.sets)
        except OSError as exc:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            raise Problem(f"a set of files cannot be written below {self.instance.sets}: {exc.strerror}") from None
        return folder

    def turn(self, folder: pathlib.Path) -> None:
        """Switch the live link to this set atomically."""
        self._link(folder, self.instance.live)

    def note_loaded(self, folder: pathlib.Path) -> None:
        """Note that the running broker has read this set."""
        self._link(folder, self.instance.loaded)

    def _link(self, folder: pathlib.Path, link: pathlib.Path) -> None:
        temporary = link.with_name(f"{link.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.relative_to(self.instance.folder))
        temporary.rename(link)
        sync(link.parent)

    def prune(self, *keep: pathlib.Path | None) -> None:
        """Remove all sets but these: old sets contain earlier accounts and keys."""
        for folder in self.instance.sets.iterdir():
            if folder not in keep:
                shutil.rmtree(folder, ignore_errors=True)


def put_back(files: Files, found: Files | None = None) -> list[str]:
    """Restore the instance's own files and its unit from a set; return which were different.

    Files outside the instance's directory, such as certbot's, are left alone. So are files that changed since they were read.
    """
    changed = []
    for name, file in files.by_path.items():
        path = pathlib.Path(name)
        if path != files.instance.unit_file and files.instance.folder not in path.parents:
            continue
        with contextlib.suppress(Problem):
            now = _read(path)
            if now == file or (found and name in found.by_path and now != found.by_path[name]):
                continue
        temporary = path.with_name(f"{path.name}.put-back")
        try:
            temporary.unlink(missing_ok=True)
            _write(temporary, file.content, file.uid, file.gid, file.mode)
            temporary.rename(path)
        except OSError as exc:
            raise Problem(f"{path} cannot be put back as it was: {exc.strerror}") from None
        changed.append(name)
    return changed
