# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test a broker's listeners as a client without credentials: each must answer, and deny what the files forbid."""

from __future__ import annotations

import contextlib
import re
import ssl
import time
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client as mqtt
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.transport import Closed, Failure

from mosquitto_apply.config import Listener
from mosquitto_apply.rights import Rights, probe_topic
from mosquitto_apply.sets import Files

PAUSE = 0.1
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Answers(t.NamedTuple):
    """The problems by listener: of listeners that are closed, and of those that did not answer for other reasons."""

    closed: dict[str, str]
    silent: dict[str, str]

    @property
    def all(self) -> dict[str, str]:
        """The problems of both kinds."""
        return {**self.closed, **self.silent}


def ask(listeners: t.Iterable[Listener], timeout: float, is_alive: t.Callable[[], bool] = lambda: True) -> Answers:
    """Ask each listener until it answers, all of them within the timeout in seconds, and while the broker is alive."""
    deadline = time.monotonic() + timeout
    answers = Answers({}, {})
    for listener in listeners:
        if not listener.is_askable:
            continue
        while True:
            left = deadline - time.monotonic()
            try:
                mqtt.ask(listener.endpoint, max(left, PAUSE))
                break
            except Failure as exc:
                if left <= PAUSE or not is_alive():
                    (answers.closed if isinstance(exc, Closed) else answers.silent)[str(listener)] = str(exc)
                    break
                time.sleep(PAUSE)
    return answers


def _passes_on(client: mqtt.Client, topic: str) -> bool:
    """Whether an anonymous client receives a message that it has published."""
    if client.log_in():
        return False
    client.subscribe([topic])
    # publish() returns when the broker has processed the message.
    client.publish(topic, b"nobody should get this")
    return any(message.topic == topic for message in client.messages)


def _attempts(listener: Listener, rights: Rights) -> t.Iterator[tuple[str, t.Callable[[mqtt.Client], bool]]]:
    """Attempts that must fail: each a description and an action of a client."""
    topic = probe_topic()
    if not rights.lets_anonymous_pass_on(f"{listener.options.get('mount_point', '')}{topic}"):
        yield "a client without a name can publish", lambda it: _passes_on(it, topic)
    name = rights.publisher
    if name is not None:
        yield f"a client that calls itself {name!r} is accepted without a password", lambda it: it.log_in(name) == 0
        yield (
            f"a client that calls itself {name!r} is accepted with an empty password",
            lambda it: it.log_in(name, "") == 0,
        )


def trespass(listeners: t.Iterable[Listener], rights: Rights, timeout: float) -> list[str]:
    """Forbidden actions that the listeners allow. A listener that does not answer allows nothing."""
    found = []
    for listener in listeners:
        for what, attempt in _attempts(listener, rights) if listener.is_askable else ():
            with contextlib.suppress(Failure), mqtt.connected(listener.endpoint, timeout) as client:
                if attempt(client):
                    found.append(f"{listener}: {what}")
    return found


def stale_certificates(listeners: t.Iterable[Listener], files: Files, timeout: float) -> list[Listener]:
    """The listeners that serve another certificate than that in their certfile."""
    stale = []
    for listener in listeners:
        if listener.has_tls and listener.is_askable:
            with contextlib.suppress(Failure):
                text = files.by_path[listener.options["certfile"]].content.decode("ascii", "replace")
                if mqtt.ask(listener.endpoint, timeout) != ssl.PEM_cert_to_DER_cert(CERTIFICATE.findall(text)[0]):
                    stale.append(listener)
    return stale
