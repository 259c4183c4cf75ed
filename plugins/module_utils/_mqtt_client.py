# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""A session with a broker, in the calling thread: no other threads, and every step ends at a deadline."""

from __future__ import annotations

import collections
import os
import socket
import ssl
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.opendev.firehose.plugins.module_utils import _certificates, _messages, _mqtt, _mqtt_paho

# the first byte of what a listener with TLS says to a client without
TLS_ALERT = 0x15
# How long the loop may sleep before paho looks whether a PINGREQ is due
SLICE = 1.0
NO_ANSWER = (socket.timeout, TimeoutError)


def missing_library(name: str, package: str) -> str:
    """Say what has to be installed."""
    return f"{missing_required_lib(name)}. In Debian it is the package {package}."


def check(module: AnsibleModule, problems: t.Sequence[str] = ()) -> None:
    """Fail if there is no need to try a connection: for the module's own problems, those of the options, and without paho."""
    problems = [*problems, *_mqtt.option_problems(module.params)]
    if problems:
        module.fail_json(msg="; ".join(problems))
    need_library(module)


def need_library(module: AnsibleModule) -> None:
    """Fail if paho-mqtt is not installed."""
    if _mqtt_paho.PAHO_ERROR:
        module.fail_json(msg=missing_library("paho-mqtt", "python3-paho-mqtt"), exception=_mqtt_paho.PAHO_ERROR)


def _tls_reason(exc: OSError) -> str:
    """What the ssl module says, without the place in its source."""
    return getattr(exc, "verify_message", None) or getattr(exc, "reason", None) or exc.strerror or str(exc)


class Session:
    """What happens between CONNECT and DISCONNECT. Every method ends in time, or raises a Failure."""

    def __init__(self, options: t.Mapping[str, t.Any], *, will: tuple[str, str, int, bool] | None = None) -> None:
        """The will is a topic, a payload, a QoS, and whether it is retained."""
        self._options, self._will = options, will
        self._place = _mqtt.place(options)
        self._patience = f"within {options['connect_timeout']:g} seconds"
        self._client = _mqtt_paho.client(options)
        self._client.on_message = self._on_message
        self.messages: collections.deque[_messages.Message] = collections.deque()

    def __enter__(self) -> Session:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def _deadline(self) -> float:
        return time.monotonic() + self._options["connect_timeout"]

    def _open(self) -> None:
        deadline = self._deadline()
        if self._will is not None:
            self._client.will_set(*self._will)
        try:
            self._client.open(deadline)
        except (OSError, ValueError, LookupError) as exc:
            raise self._not_opened(exc) from None
        if not self.run(lambda: self._client.connack is not None, deadline):
            raise self._not_mqtt() if self._client.first_byte() else self._failure("no_answer", self._silence())
        if self._client.connack:
            refusal = _mqtt.connect_refusal(self._client.connack, self._options["protocol_version"])
            raise self._failure(refusal.cause, str(refusal))

    def _on_message(self, _client: object, _userdata: object, message: t.Any) -> None:
        self.messages.append(
            _messages.Message(message.topic, bytes(message.payload), message.qos, bool(message.retain))
        )

    def _failure(self, cause: str, message: str) -> _mqtt.Failure:
        return _mqtt.Failure(cause, f"{self._place}: {message}")

    def _not_opened(self, exc: Exception) -> _mqtt.Failure:
        """Why paho could not connect, or not do the TLS and the websocket handshake."""
        if isinstance(exc, socket.gaierror):
            return self._failure("unreachable", f"the name of the host cannot be resolved: {exc.strerror}")
        if isinstance(exc, NO_ANSWER):
            return self._failure("no_answer", self._silence())
        if not self._client.reached:
            if isinstance(exc, (ConnectionRefusedError, FileNotFoundError)):
                return self._failure("unreachable", f"nobody listens there: {exc.strerror}")
            return self._failure("unreachable", f"no connection: {getattr(exc, 'strerror', None) or exc}")
        if self._options["tls"] and isinstance(exc, OSError) and not isinstance(exc, _mqtt_paho.WEBSOCKET_ERROR):
            return self._failure("tls", self._tls_words(exc))
        if self._options["transport"] == "websockets":
            path = self._options["websockets_path"]
            return self._failure("not_mqtt", f"it does not speak MQTT over websockets at the path {path}: {exc}")
        return self._not_mqtt()

    def _silence(self) -> str:
        return f"{'it accepted the connection, but gave ' if self._client.reached else ''}no answer {self._patience}"

    def _not_mqtt(self) -> _mqtt.Failure:
        """What somebody says who does not answer to CONNECT."""
        first = self._client.first_byte()
        if first == TLS_ALERT:
            return self._failure("not_mqtt", "it speaks TLS; set tls: true")
        if first:
            return self._failure("not_mqtt", "it answers, but not with MQTT")
        or_tls = "" if self._options["tls"] or self._options["transport"] == "unix" else ", or want TLS"
        return self._failure(
            "not_mqtt",
            "it closed the connection without an answer to the login; "
            f"it may speak something else than MQTT{or_tls}, or have as many connections as it takes",
        )

    def _tls_words(self, exc: OSError) -> str:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return f"the broker's certificate is not valid: {_tls_reason(exc)}"
        return f"TLS failed: {_tls_reason(exc)}"

    def run(self, done: t.Callable[[], bool], deadline: float) -> bool:
        """Send and receive until something is the case; return False if it is not in time."""
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                code = self._client.loop(min(left, SLICE))
            except OSError as exc:
                raise self._ended(exc) from None
            if not done() and (code or self._client.socket() is None):
                raise self._ended(None)
        return True

    def _ended(self, exc: OSError | None) -> _mqtt.Failure:
        """Why the connection is no longer there."""
        client = self._client
        if client.errors or isinstance(exc, ssl.SSLError):
            return self._failure("tls", self._tls_words(client.errors[0] if client.errors else exc))
        if client.connack is None:
            return self._not_mqtt()
        if client.reason is not None:
            return self._failure("lost", f"the broker ended the connection: {_mqtt.reason(client.reason)}")
        return self._failure("lost", "the connection was lost")

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> int | None:
        """Send a message; return the reason code of its PUBACK or PUBREC, if it is sent with MQTT 5 and is acknowledged."""
        client, deadline = self._client, self._deadline()
        sent = client.publish(topic, payload.encode(), qos, retain)
        if sent.rc:
            raise self._ended(None)
        if qos == 0:
            if not self.run(lambda: not client.want_write(), deadline):
                raise self._failure("no_answer", f"the message could not be sent {self._patience}")
            return None

        def acknowledged() -> bool:
            code = client.codes.get(sent.mid)
            return code is not None and (qos == 1 or code >= _mqtt.FIRST_REFUSAL or sent.mid in client.completed)

        if not self.run(acknowledged, deadline):
            raise self._failure("no_answer", f"the broker did not acknowledge the message {self._patience}")
        return client.codes[sent.mid] if self._options["protocol_version"] == "5" else None

    def subscribe(self, filters: t.Sequence[str], qos: int) -> None:
        """Subscribe; return when the broker has confirmed it."""
        client = self._client
        number = client.subscribe([(topic_filter, qos) for topic_filter in filters])[1]
        if not self.run(lambda: number in client.subscribed, self._deadline()):
            raise self._failure("no_answer", f"the broker did not confirm the subscription {self._patience}")
        refused = [
            f"{topic_filter} ({_mqtt.reason(code)})"
            for topic_filter, code in zip(filters, client.subscribed[number])
            if code >= _mqtt.FIRST_REFUSAL
        ]
        if refused:
            raise self._failure("subscription", f"the broker refused to subscribe to {', '.join(refused)}")

    def unsubscribe(self, filters: t.Sequence[str]) -> None:
        """Unsubscribe; return when the broker has confirmed it, behind all that it had sent before."""
        client = self._client
        number = client.unsubscribe([*filters])[1]
        if not self.run(lambda: number in client.unsubscribed, self._deadline()):
            raise self._failure("no_answer", f"the broker did not confirm the end of the subscription {self._patience}")

    @property
    def max_qos(self) -> int:
        """The highest QoS that the broker takes. With MQTT 3.1.1 it cannot say."""
        return self._client.max_qos

    @property
    def retain_available(self) -> bool:
        """Whether the broker takes retained messages. With MQTT 3.1.1 it cannot say."""
        return self._client.retain_available

    def certificate(self) -> dict[str, t.Any] | None:
        """How long the broker's certificate lasts. None without TLS, and where it was not asked whether it is valid."""
        found = self._client.certificate()
        return _certificates.describe(found, time.time()) if found else None

    def vanish(self) -> None:
        """Cut the connection without DISCONNECT, which would take the will back."""
        with socket.socket(fileno=os.dup(self._client.socket().fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        """Say DISCONNECT, if there is still somebody to say it to."""
        client, deadline = self._client, self._deadline()
        try:
            if client.socket() is not None and client.connack == 0:
                client.disconnect()
                while client.socket() is not None and time.monotonic() < deadline:
                    client.loop(SLICE)
        except OSError:
            pass  # the broker was faster
        finally:
            client.close()
