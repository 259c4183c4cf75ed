# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The login at Gerrit's SSH server: the command that tries it, and the message for a failure, with the role's variable."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    Process = subprocess.Popen[bytes]

LINES = 3  # of ssh's output in a message
# As in germqtt's unit
SANDBOX = (
    "CapabilityBoundingSet=",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "UMask=0077",
)


@dataclasses.dataclass(frozen=True)
class Login:
    """The server and the account of a login."""

    host: str
    port: int
    user: str

    @property
    def alias(self) -> str:
        """The host's name in known_hosts, as germqtt looks it up."""
        return f"[{self.host}]:{self.port}"

    def known_hosts(self, keys: t.Iterable[str]) -> str:
        return "".join(f"{self.alias} {' '.join(key.split()[:2])}\n" for key in keys)

    def command(self, folder: str) -> list[str]:
        """The command that germqtt runs, with the files `key` and `known_hosts` of a folder. It writes an empty line after the login."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": self.alias,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": f"{folder}/key",
            "LocalCommand": "echo",
            "LogLevel": "ERROR",
            "PermitLocalCommand": "yes",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "UserKnownHostsFile": f"{folder}/known_hosts",
        }
        arguments = [argument for name, value in options.items() for argument in ("-o", f"{name}={value}")]
        target = ["-l", self.user, "-p", str(self.port), "--", self.host]
        return ["ssh", "-F", "none", "-T", *arguments, *target, "gerrit", "stream-events"]

    def problem(self, words: str, logged_in: bool) -> str:
        """The message for a failed login, from ssh's error output: the variable, the cause and the remedy."""
        where = f"{self.host} port {self.port}"
        if logged_in:
            return (
                f"germqtt_gerrit_user: {where} does not stream events to {self.user!r}: {last_lines(words, LINES)}\n"
                "Give the account the global capability Stream Events in Gerrit."
            )
        if re.search(r"host key", words, re.IGNORECASE):
            sent = re.search(r"SHA256:[A-Za-z0-9+/]+", words)
            return (
                f"germqtt_gerrit_host_keys: {where} has another host key{f', {sent[0]}' if sent else ''}\n"
                f"Show its keys: ssh-keyscan -p {self.port} {self.host}\n"
                "Compare them with those that Gerrit's operators publish before you change the variable."
            )
        if "Permission denied" in words or "Too many authentication failures" in words:
            return (
                f"germqtt_ssh_private_key, germqtt_gerrit_user: {where} rejects this key for {self.user!r}\n"
                "Show the public key, and add it to the account in Gerrit: ssh-keygen -y -f FILE"
            )
        return (
            f"germqtt_gerrit_host, germqtt_gerrit_port: {where} cannot be reached: {last_lines(words, LINES)}\n"
            f"Try it from the host: ssh-keyscan -p {self.port} {self.host}"
        )


def last_lines(words: str, most: int) -> str:
    """The end of a program's output in one printable line."""
    lines = ["".join(filter(str.isprintable, line)).strip() for line in words.split("\n")]
    return "; ".join([line for line in lines if line][-most:]) or "no answer"


def key_problem(words: str) -> str:
    """The message for a private key that ssh-keygen cannot read, from its error output."""
    return (
        f"germqtt_ssh_private_key: OpenSSH cannot use this key: {last_lines(words, 1)}\n"
        "Test the file that the variable is from: ssh-keygen -y -P '' -f FILE"
    )


def confined(command: list[str], account: str, unit: str, timeout: float) -> list[str]:
    """The command as a unit with the sandbox of germqtt's unit: a compromised germqtt gains nothing from this process."""
    return [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}", f"--uid={account}"),
        # The unit also ends if no process is left to stop it.
        *(f"--property={line}" for line in (*SANDBOX, "TimeoutStopSec=5", f"RuntimeMaxSec={timeout + 5:.0f}")),
        # ssh needs a shell for LocalCommand, and the account's own may be nologin.
        *("--setenv=SHELL=/bin/sh", "--setenv=LC_ALL=C.UTF-8"),
        *command,
    ]


def start(command: list[str], errors: t.IO[bytes]) -> Process:
    """Start a command whose output is read while it runs, which run_command cannot do."""
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        command,
        bufsize=0,
        cwd="/",
        env={"PATH": os.defpath, "SHELL": "/bin/sh", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    )


def stop(process: Process, unit: str | None) -> None:
    """Stop a command, and with its unit all processes that it has started."""
    if unit:
        # pylint: disable-next=ansible-bad-function
        subprocess.call(["systemctl", "stop", unit], stderr=subprocess.DEVNULL)
    process.kill()
