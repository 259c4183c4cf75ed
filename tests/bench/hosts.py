# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers for the plays: one for each, so that a play does not see leftovers of another one."""

from __future__ import annotations

import contextlib
import os
import typing as t

from measure import CHECKOUT, run, say

SUFFIX = os.environ.get("FIREHOSE_RUN", "")
RELEASE = os.environ.get("BENCH_RELEASE", "13")
NETWORK = f"bench{SUFFIX}"
IMAGE = f"bench-packages{SUFFIX}"
# With this label `make clean` finds leftovers of a killed run.
LABEL = f"opendev-firehose.checkout={CHECKOUT}"

# As in molecule/default/molecule.yml.
LIKE_A_HOST = [
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp",
    "--sysctl=net.ipv4.ip_unprivileged_port_start=1024",
]
PACKAGES = ["mosquitto", "openssh-client", "python3-packaging", "python3-paho-mqtt", "python3-venv"]


def container(name: str) -> str:
    """The name of a play's container."""
    return f"bench-{name}{SUFFIX}"


def in_container(name: str, *command: str, limit: int = 60) -> str:
    """Run a command in a container; return its output."""
    return run("docker", "exec", container(name), *command, limit=limit).output.strip()


def start(name: str, image: str, *command: str, options: t.Sequence[str] = ()) -> None:
    """Start a container."""
    about = [f"--name={container(name)}", f"--hostname={container(name)}", f"--network={NETWORK}", f"--label={LABEL}"]
    run("docker", "run", "--detach", *about, *options, image, *command)


def remove(names: t.Iterable[str]) -> None:
    """Remove containers, network and image, if they exist."""
    command = f"docker rm --force --volumes {' '.join(map(container, names))}; docker network rm {NETWORK}; docker rmi {IMAGE}"
    run("sh", "-c", f"{{ {command}; }} >/dev/null 2>&1; true")


def make_image() -> None:
    """Debian with the packages that the plays would install, so that downloads are not measured."""
    start("packages", f"opendev-firehose/debian:{RELEASE}", "sleep", "infinity")
    install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(PACKAGES)}"
    in_container("packages", "env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install, limit=180)
    run("docker", "commit", container("packages"), IMAGE)
    run("docker", "rm", "--force", container("packages"))


@contextlib.contextmanager
def containers(names: t.Sequence[str], gerrit: bool = True) -> t.Iterator[None]:
    """Booted containers with these names, and a Gerrit stand-in with the name "gerrit"."""
    booted = [*names, "gerrit"] if gerrit else names
    everything = [*booted, "packages"]
    remove(everything)
    try:
        run("docker", "network", "create", f"--label={LABEL}", NETWORK)
        say("preparing an image with Debian's packages")
        make_image()
        say(f"starting {len(booted)} containers")
        for name in booted:
            image = "opendev-firehose/gerrit" if name == "gerrit" else IMAGE
            start(name, image, "/lib/systemd/systemd", options=LIKE_A_HOST)
        for name in booted:
            # systemd opens this socket moments after the container's start. The command fails unless the state is
            # "running".
            wait = "until test -S /run/systemd/private; do sleep 0.1; done; exec systemctl is-system-running --wait"
            in_container(name, "sh", "-c", wait)
        yield
    finally:
        say("removing the containers")
        remove(everything)


def address(name: str) -> str:
    """A container's address."""
    return in_container(name, "hostname", "-I").split()[0]


def gerrit_variables() -> dict[str, t.Any]:
    """Register a new key at the Gerrit stand-in, and return the variables for germqtt."""
    in_container("gerrit", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/germqtt")
    in_container("gerrit", "install", "-m", "0644", "/root/germqtt.pub", "/etc/ssh/authorized_keys/germqtt")
    return {
        "germqtt_gerrit_host": container("gerrit"),
        "germqtt_gerrit_user": "germqtt",
        "germqtt_gerrit_host_keys": [
            in_container("gerrit", "cut", "-d ", "-f1,2", "/etc/ssh/ssh_host_ed25519_key.pub")
        ],
        "germqtt_ssh_private_key": in_container("gerrit", "cat", "/root/germqtt") + "\n",
    }
