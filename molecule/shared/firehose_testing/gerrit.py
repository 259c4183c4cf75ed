# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gerrit stand-in: a container. Its event stream is the lines that are appended to a file in it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import threading
import time
import typing as t

import testinfra.host

from .clients import Subscriber

EVENTS = "/srv/gerrit/events.jsonl"
OWN_PROJECT = "tests/marker"


def topic_of(event: t.Mapping[str, t.Any]) -> str:
    """The topic on which germqtt publishes an event."""
    for place in (event, event.get("change", {}), event.get("refUpdate", {})):
        if "project" in place:
            return f"gerrit/{place['project']}/{event['type']}"
    return f"gerrit//{event['type']}"


class Gerrit:
    """Feeds events to all clients of the stream."""

    def __init__(self, host: testinfra.host.Host) -> None:
        self.host = host
        self._serial = itertools.count(1)

    def feed(self, lines: t.Iterable[str]) -> None:
        """Stream lines, all with a single write."""
        # dd, because cat and tee write at most 128 KiB at a time.
        write = ["dd", f"of={EVENTS}", "oflag=append", "conv=notrunc", "iflag=fullblock", "bs=64M", "status=none"]
        content = "".join(f"{line}\n" for line in lines).encode()
        subprocess.run(["docker", "exec", "--interactive", self.host.backend.name, *write], input=content, check=True)

    def mark(self) -> str:
        """Stream an event of the tests, and return its topic."""
        event = {"type": "comment-added", "project": f"{OWN_PROJECT}/{next(self._serial)}"}
        self.feed([json.dumps(event)])
        return topic_of(event)

    def mark_until(self, done: t.Callable[[], bool], timeout: float = 60) -> bool:
        """Stream an event each second until a condition is true. Returns whether it became true."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.mark()
            pause = time.monotonic() + 1
            while time.monotonic() < pause:
                if done():
                    return True
                time.sleep(0.02)
        return False

    @contextlib.contextmanager
    def events(self) -> t.Iterator[None]:
        """Stream an event each second meanwhile."""
        over = threading.Event()
        thread = threading.Thread(target=self.mark_until, args=[over.is_set, 3600])
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_until_heard(self, subscribers: t.Collection[Subscriber], timeout: float = 60) -> None:
        """Wait until events that are streamed from now on reach all subscribers."""
        before = {subscriber: len(subscriber.messages) for subscriber in subscribers}

        def deaf() -> list[str]:
            return [str(s) for s in subscribers if not any(is_own(m.topic) for m in s.messages[before[s] :])]

        assert self.mark_until(lambda: not deaf(), timeout), f"no event reached {deaf()}"

    def drop_streams(self) -> None:
        """End all sessions."""
        self.host.check_output("pkill --uid germqtt")

    @contextlib.contextmanager
    def another_host_key(self) -> t.Iterator[None]:
        """Use other host keys for a while."""
        keys, kept = "/etc/ssh/ssh_host_*", "/var/lib/kept-host-keys"
        self.host.check_output(f"mkdir {kept} && mv {keys} {kept} && systemctl restart ssh")
        try:
            yield
        finally:
            self.host.check_output(f"rm {keys} && mv {kept}/* /etc/ssh && rmdir {kept} && systemctl restart ssh")

    def refused_by(self) -> set[str]:
        """The addresses of clients that disconnected before authentication, since sshd started."""
        journal = self.host.check_output(
            "journalctl --no-pager _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ssh)"
        )
        return set(re.findall(r"(\S+) port \d+ \[preauth\]", journal))


def is_own(topic: str) -> bool:
    """Whether a topic is of an event that the tests made up."""
    return topic.startswith(f"gerrit/{OWN_PROJECT}/")
