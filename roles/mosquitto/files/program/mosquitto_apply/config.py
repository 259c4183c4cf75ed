# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read mosquitto.conf: the files that it names, its listeners, and whether a change needs a restart."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mosquitto import line_file
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import transport

from mosquitto_apply.problem import Problem

# Options that name a file that the broker reads.
FILE_OPTIONS = {
    "acl_file",
    "bridge_cafile",
    "bridge_certfile",
    "bridge_keyfile",
    "cafile",
    "certfile",
    "crlfile",
    "dhparamfile",
    "keyfile",
    "password_file",
    "plugin_opt_acl_file",
    "plugin_opt_password_file",
    "psk_file",
}
# Options whose files the broker reads again on a reload.
RELOADED_FILES = {"acl_file", "certfile", "keyfile", "password_file", "psk_file"}
# Options that every version applies on a reload. All others need a restart, even some that the manual says are reloaded.
RELOADED_OPTIONS = {
    "allow_anonymous",
    "allow_duplicate_messages",
    "autosave_interval",
    "connection_messages",
    "log_type",
    "persistent_client_expiration",
    "queue_qos0_messages",
    "sys_interval",
}
# Options that make the broker read files outside the set, or open a listener that this program does not see.
UNFIT_OPTIONS = {
    "bind_address": "write 'listener PORT ADDRESS'",
    "include_dir": "a set has one configuration file",
    "port": "write 'listener PORT'",
}
# Start of a value that names a file with the real value: '@' and an absolute path.
WORD = "@/"


class Line(t.NamedTuple):
    """An option with its line number."""

    number: int
    option: str
    value: str


@dataclasses.dataclass(frozen=True)
class Listener:
    """A listener of the broker."""

    port: int
    address: str
    socket: str
    options: dict[str, str]

    def __str__(self) -> str:
        return self.socket or f"port {self.port}{f' of {self.address}' if self.address else ''} ({self.protocol})"

    @property
    def protocol(self) -> str:
        """The protocol of the listener, mqtt by default."""
        return self.options.get("protocol", "mqtt")

    @property
    def has_tls(self) -> bool:
        """Whether it serves a certificate."""
        return "certfile" in self.options

    @property
    def is_askable(self) -> bool:
        """Whether a client without a PSK, a PROXY header or a certificate can send a CONNECT."""
        return not ({"psk_hint", "enable_proxy_protocol"} & set(self.options) or self.wants_certificate)

    @property
    def wants_certificate(self) -> bool:
        """Whether clients need a certificate."""
        return self.options.get("require_certificate") == "true"

    @property
    def endpoint(self) -> dict[str, t.Any]:
        """The endpoint where the host itself reaches the listener."""
        if self.socket:
            return {"socket": self.socket, "protocol": "mqtt"}
        return {
            "host": transport.own_address(self.address),
            "port": self.port,
            "protocol": self.protocol,
            "tls": self.has_tls,
        }


def _split(text: str) -> t.Iterator[tuple[int, str]]:
    """Split a text into numbered lines as the broker does, at line feeds only."""
    return enumerate(text.removesuffix("\n").split("\n"), 1)


def parse(text: str) -> list[Line]:
    """The options, in their order."""
    lines = []
    for number, line in _split(text):
        stripped = line.strip(line_file.BLANKS)
        if stripped and not stripped.startswith("#"):
            option, _space, value = stripped.partition(" ")
            lines.append(Line(number, option, value.strip(line_file.BLANKS)))
    return lines


def check(lines: t.Iterable[Line], path: str) -> None:
    """Reject options that a set of files does not support."""
    for line in lines:
        if line.option in UNFIT_OPTIONS:
            raise Problem(
                f"{path}, line {line.number}: {line.option} cannot be used here: {UNFIT_OPTIONS[line.option]}"
            )
        if line.option in FILE_OPTIONS and not line.value.startswith("/"):
            raise Problem(f"{path}, line {line.number}: {line.option} has to name a file from the root on")


def files(lines: t.Iterable[Line]) -> list[Line]:
    """The lines that name a file."""
    return [line for line in lines if line.option in FILE_OPTIONS]


def words(lines: t.Iterable[Line]) -> list[Line]:
    """The lines whose value is a secret in a file: a password, or an unguessable client ID."""
    return [line for line in lines if line.value.startswith(WORD)]


def values(lines: t.Iterable[Line], option: str) -> list[str]:
    """All values of an option."""
    return [line.value for line in lines if line.option == option]


def in_set(text: str, folder: str, word: t.Mapping[str, str]) -> str:
    """The configuration for the broker: paths are below a folder, and secrets replace the names of their files."""
    changed = []
    for _number, line in _split(text):
        option, _space, rest = line.strip(line_file.BLANKS).partition(" ")
        value = rest.strip(line_file.BLANKS)
        if option in FILE_OPTIONS:
            changed.append(f"{option} {folder}{value}")
        elif value.startswith(WORD):
            changed.append(f"{option} {word[value[1:]]}")
        else:
            changed.append(line)
    return "\n".join(changed) + "\n"


def listeners(lines: t.Iterable[Line]) -> list[Listener]:
    """The listeners with their options, without the options of bridges."""
    found: list[Listener] = []
    current: dict[str, str] | None = None
    for line in lines:
        if line.option == "listener":
            port, _space, address = line.value.partition(" ")
            is_socket = address.startswith("/")
            current = {}
            number = int(port) if port.isdigit() else 0
            found.append(Listener(number, "" if is_socket else address, address if is_socket else "", current))
        elif line.option == "connection":
            current = None
        elif current is not None:
            current[line.option] = line.value
    return found


def needs_restart(before: t.Iterable[Line], after: t.Iterable[Line]) -> bool:
    """Whether two configurations differ in options that a reload does not apply."""

    def fixed(lines: t.Iterable[Line]) -> list[tuple[str, str]]:
        return [(line.option, line.value) for line in lines if line.option not in RELOADED_OPTIONS]

    return fixed(before) != fixed(after)
