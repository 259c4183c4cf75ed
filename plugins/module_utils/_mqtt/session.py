# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client as the options of a module describe it. Its failures name the broker."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons, transport
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.client import Client
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.packets import Message
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.reasons import Failure


def check_options(module: AnsibleModule, problems: t.Sequence[str] = ()) -> None:
    """Fail for the module's own problems and those of the options, before anything is tried."""
    problems = [*problems, *client_options.option_problems(module.params)]
    if problems:
        module.fail_json(msg="; ".join(problems))


def _tls_context(options: t.Mapping[str, t.Any]) -> ssl.SSLContext:
    """The TLS context: the certificates, and the validation of the broker's certificate."""
    try:
        context = ssl.create_default_context(cafile=options["ca_path"])
    except OSError as exc:
        raise Failure("tls", f"ca_path: {options['ca_path']}: {exc.strerror or exc}") from None
    if not options["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options["client_cert"]:
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(options["client_cert"], options["client_key"], password="")
        except OSError as exc:
            files = ", ".join(path for path in (options["client_cert"], options["client_key"]) if path)
            raise Failure("tls", f"client_cert, client_key: {files}: {exc.strerror or exc}") from None
    return context


def _endpoint(options: t.Mapping[str, t.Any]) -> transport.Endpoint:
    if options["transport"] == "unix":
        return transport.Endpoint(unix_socket=options["socket"])
    return transport.Endpoint(
        options["host"],
        client_options.port(options),
        path=options["websockets_path"] if options["transport"] == "websockets" else None,
        tls=_tls_context(options) if options["tls"] else None,
    )


class Session:
    """A session from CONNECT to DISCONNECT. Every method ends within its timeout, or raises a Failure."""

    def __init__(self, options: t.Mapping[str, t.Any], *, will: tuple[str, str, int, bool] | None = None) -> None:
        """The will is a topic, a payload, a QoS, and whether it is retained."""
        self._options, self._will = options, will
        self._timeout: float = options["connect_timeout"]

    @contextlib.contextmanager
    def _named(self) -> t.Iterator[None]:
        """Add the broker's address and the timeout to failures."""
        try:
            yield
        except Failure as exc:
            patience = f" within {self._timeout:g} seconds" if exc.cause == "no_answer" else ""
            raise Failure(exc.cause, f"{client_options.place(self._options)}: {exc}{patience}") from None

    def __enter__(self) -> Session:
        place = _endpoint(self._options)
        with contextlib.ExitStack() as stack, self._named():
            self._client = client = self._log_in(place, stack)
            self._stack = stack.pop_all()
        # With MQTT 3.1.1 a broker cannot tell its limits.
        self.max_qos, self.retain_available = client.max_qos, client.retain_available
        self.messages = client.messages
        return self

    def _log_in(self, place: transport.Endpoint, stack: contextlib.ExitStack) -> Client:
        options, will = self._options, self._will
        deadline, version = time.monotonic() + self._timeout, options["protocol_version"]
        connection = stack.enter_context(transport.opened(place, deadline))
        keepalive = options["keepalive"]
        client = Client(connection, self._timeout, login_deadline=deadline, version=version, keepalive=keepalive)
        code = client.log_in(
            options["username"],
            options["password"],
            options["client_id"] or secrets.token_hex(11),
            Message(will[0], will[1].encode(), *will[2:]) if will else None,
        )
        if code:
            raise reasons.connect_refusal(code, version)
        stack.callback(client.leave)
        return client

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(Failure):  # the broker closed the connection first
            self._stack.close()

    def run(self, done: t.Callable[[], bool], deadline: float) -> bool:
        """Receive until done returns true; return False if the deadline comes first."""
        with self._named():
            return self._client.run(done, deadline)

    def publish(self, topic: str, payload: str, qos: int, retain: bool) -> int | None:
        """Send a message; return the reason code of its PUBACK or PUBREC, if it is sent with MQTT 5 and is acknowledged."""
        with self._named():
            return self._client.publish(topic, payload.encode(), qos, retain)

    def subscribe(self, filters: t.Sequence[str], qos: int) -> None:
        """Subscribe; return when the broker has confirmed it."""
        with self._named():
            self._client.subscribe(filters, qos)

    def unsubscribe(self, filters: t.Sequence[str]) -> None:
        """Unsubscribe; return when the broker has confirmed it, after all that it had sent before."""
        with self._named():
            self._client.unsubscribe(filters)

    def certificate(self) -> dict[str, t.Any] | None:
        """Describe the broker's certificate. None without TLS, and if it was not verified."""
        found = self._client.connection.certificate()
        return certificate_files.describe(found, time.time()) if found else None

    def vanish(self) -> None:
        """Cut the connection without DISCONNECT, which would discard the will."""
        with self._named():
            self._client.connection.cut()
