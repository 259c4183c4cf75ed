#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gerrit_login
short_description: Try a login at Gerrit's event stream
version_added: 3.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Only role P(opendev.firehose.germqtt#role) needs this module. Its messages name that role's variables.
  - Logs in at Gerrit's SSH server from the managed host, asks for the event stream, and disconnects. The module fails if OpenSSH cannot use the
    private key, the server has another host key, or Gerrit rejects the key or does not stream events to the account.
  - The keys are in a directory below C(/run) for that time, which only root and O(account) can read.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
options:
  host:
    description: The name or the address of Gerrit's host.
    type: str
    required: true
  port:
    description: The port of Gerrit's SSH server.
    type: int
    default: 29418
  user:
    description: The account at Gerrit.
    type: str
    required: true
  host_keys:
    description: The public host keys of the server, each as V(ssh-ed25519 AAAA...).
    type: list
    elements: str
    required: true
  private_key:
    description: The private key of the account at Gerrit.
    type: str
    required: true
  account:
    description: The account of the managed host that OpenSSH's client runs as, in the sandbox of germqtt's unit.
    type: str
    default: germqtt
  timeout:
    description: The number of seconds that the login may take.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Try the login at Gerrit
  opendev.firehose.gerrit_login:
    host: review.example.org
    user: germqtt
    host_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH+wAziyEEHEjv3EeDzpXIZk+v06Fz8uPzWTesYhL09l
    private_key: "{{ vault_germqtt_ssh_private_key }}"
  become: true
"""

RETURN = r"""
tried:
  description: Whether the login was tried. It is not where there is no client of OpenSSH, no O(account), or no running systemd with D-Bus.
  returned: success
  type: bool
  sample: true
"""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import threading
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import gerrit

# Gerrit does not say when a stream has begun. If it denies the stream, it does so within this many seconds.
BEGINS_WITHIN = 2
FOLDERS = "/run"  # in memory
# What systemd-run needs
SYSTEMD = "/run/systemd/system"
BUS = "/run/dbus/system_bus_socket"


def is_other(account: pwd.struct_passwd) -> bool:
    """Whether the account is another one than the module's own."""
    return account.pw_uid != os.geteuid()


@contextlib.contextmanager
def folder_for(account: pwd.struct_passwd, files: t.Mapping[str, str]) -> t.Iterator[str]:
    """A directory with files that only the account and root can read. The account can change nothing there."""
    with tempfile.TemporaryDirectory(prefix="gerrit_login-", dir=FOLDERS) as folder:
        os.chown(folder, -1, account.pw_gid)
        os.chmod(folder, 0o750)
        for name, content in files.items():
            path = pathlib.Path(folder, name)
            path.touch(mode=0o600)
            path.write_text(content, encoding="utf-8")
            if is_other(account):
                # OpenSSH reads a key that others can read only if it is not the account's own.
                os.chown(path, -1, account.pw_gid)
                path.chmod(0o640)
        yield folder


@contextlib.contextmanager
def started(
    command: list[str], account: pwd.struct_passwd, errors: t.IO[bytes], timeout: float
) -> t.Iterator[gerrit.Process]:
    """A command that runs as the account. It is ended after the timeout, and in the end, with all that it has started."""
    unit = f"gerrit_login-{os.getpid()}.service" if is_other(account) else None
    words = gerrit.confined(command, account.pw_name, unit, timeout) if unit else command
    with gerrit.start(words, errors) as process:
        timer = threading.Timer(timeout, gerrit.stop, (process, unit))
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            gerrit.stop(process, unit)


def follow(command: list[str], account: pwd.struct_passwd, errors: t.IO[bytes], timeout: float) -> tuple[bool, bool]:
    """Run ssh for a moment; return whether it logged in, and whether Gerrit streams."""
    logged_in = False
    with started(command, account, errors, timeout + BEGINS_WITHIN) as process:
        try:
            logged_in = bool(process.stdout and process.stdout.read(1))
            process.wait(BEGINS_WITHIN)
        except subprocess.TimeoutExpired:
            return True, logged_in
        return logged_in, False


def problem(login: gerrit.Login, folder: str, account: pwd.struct_passwd, timeout: float) -> str | None:
    """Say why germqtt could not follow the stream with the files of a folder, or None."""
    with tempfile.TemporaryFile() as errors:

        def said() -> str:
            errors.seek(0)
            return errors.read().decode(errors="replace")

        with started(["ssh-keygen", "-y", "-P", "", "-f", f"{folder}/key"], account, errors, timeout) as reading:
            reading.communicate()
        if reading.returncode:
            return gerrit.key_problem(said())
        logged_in, streams = follow(login.command(folder), account, errors, timeout)
        return None if streams else login.problem(said(), logged_in)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 29418},
            "user": {"type": "str", "required": True},
            "host_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "private_key": {"type": "str", "required": True, "no_log": True},
            "account": {"type": "str", "default": "germqtt"},
            "timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        account = pwd.getpwnam(params["account"])
    except KeyError:
        module.exit_json(changed=False, tried=False)
    programs = shutil.which("ssh") and shutil.which("ssh-keygen")
    if not programs or (is_other(account) and not (os.path.exists(SYSTEMD) and os.path.exists(BUS))):
        module.exit_json(changed=False, tried=False)
    login = gerrit.Login(params["host"], params["port"], params["user"])
    files = {"key": params["private_key"], "known_hosts": login.known_hosts(params["host_keys"])}
    with folder_for(account, files) as folder:
        found = problem(login, folder, account, params["timeout"])
    if found:
        module.fail_json(msg=found)
    module.exit_json(changed=False, tried=True)


if __name__ == "__main__":
    main()
