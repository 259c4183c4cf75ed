# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths of a broker's files, by the name of its instance."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from mosquitto_apply.problem import Problem


@dataclasses.dataclass(frozen=True)
class Instance:
    """One broker instance of this host. The instance without a name is mosquitto.service."""

    name: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]{0,22}", self.name):
            raise Problem(f"{self.name!r} is no name of an instance: those are of at most 22 small letters and digits")

    @property
    def _suffix(self) -> str:
        return f"-{self.name}" if self.name else ""

    @property
    def user(self) -> str:
        """The user that it runs as. No instance can read the files of another, or kill it."""
        return f"mosquitto{self._suffix}"

    @property
    def unit(self) -> str:
        """The unit that runs it."""
        return f"mosquitto@{self.name}.service" if self.name else "mosquitto.service"

    @property
    def unit_file(self) -> pathlib.Path:
        """The file of the unit. Each instance has its own."""
        return pathlib.Path("/etc/systemd/system", self.unit)

    @property
    def obsolete_drop_in(self) -> pathlib.Path:
        """The drop-in that release 1.0.0 added to the unit of Debian's package."""
        return self.unit_file.with_name(f"{self.unit_file.name}.d") / "opendev-firehose.conf"

    @property
    def folder(self) -> pathlib.Path:
        """The directory that administrators and roles write to."""
        return pathlib.Path(f"/etc/mosquitto{self._suffix}")

    @property
    def config(self) -> pathlib.Path:
        """Its mosquitto.conf, which names the other files."""
        return self.folder / "mosquitto.conf"

    @property
    def sets(self) -> pathlib.Path:
        """The directory of the sets of files that the broker was given."""
        return self.folder / "sets"

    @property
    def live(self) -> pathlib.Path:
        """The link to the set that the broker reads."""
        return self.folder / "live"

    @property
    def runtime(self) -> pathlib.Path:
        """The directory that exists as long as the process."""
        return pathlib.Path(f"/run/mosquitto{self._suffix}")

    @property
    def loaded(self) -> pathlib.Path:
        """A copy of the live link from when the process last read it. In /run itself, where only root can write."""
        return self.runtime.with_name(f"{self.runtime.name}.set")

    @property
    def lock(self) -> pathlib.Path:
        """The lock of a change. In its own directories the broker could take the lock, and block changes forever."""
        return self.runtime.with_name(f"{self.runtime.name}.lock")


def every(root: pathlib.Path = pathlib.Path("/etc")) -> list[Instance]:
    """The brokers that were ever given a set of files, the unnamed one first. Directories without a valid name are ignored."""
    names = [
        re.fullmatch(r"mosquitto(?:-([a-z0-9]{1,22}))?", path.parent.name) for path in root.glob("mosquitto*/sets")
    ]
    return [Instance(name) for name in sorted(name[1] or "" for name in names if name)]
