# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""What all modules that are MQTT clients have in common: their options, and the words for what a broker answers.

Pure functions; the connection itself is in _mqtt_client.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils import _topics

DEFAULT_PORTS = {("tcp", False): 1883, ("tcp", True): 8883, ("websockets", False): 80, ("websockets", True): 443}
MAX_BYTES = 65535
MAX_PORT = 65535
# From here on the reason codes of MQTT 5 are refusals. In a SUBACK that is so with 3.1.1 too.
FIRST_REFUSAL = 0x80

# MQTT 3.1.1, table 3.1
CONNECT_RETURN_CODES = {
    1: "unsupported protocol version",
    2: "client identifier not valid",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
# MQTT 5.0, section 2.4: those that a broker sends to a client like this one
REASON_CODES = {
    0x00: "success",
    0x10: "no matching subscribers",
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over by another client with the same client id",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}
UNSUPPORTED_VERSION = {1, 0x84}
CLIENT_ID_OR_KEEPALIVE = 2
NOT_LET_IN = {4, 5, 0x86, 0x87, 0x8A, 0x8C}


class Failure(Exception):
    """Why there is no session, or no longer one; ``cause`` is what the modules return by that name."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def argument_spec() -> dict[str, t.Any]:
    """The options of a connection, as the doc fragment _mqtt has them."""
    return {
        "host": {"type": "str", "default": "localhost"},
        "port": {"type": "int"},
        "transport": {"type": "str", "choices": ["tcp", "websockets", "unix"], "default": "tcp"},
        "socket": {"type": "path"},
        "websockets_path": {"type": "str", "default": "/mqtt"},
        "tls": {"type": "bool", "default": False},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "client_id": {"type": "str"},
        "protocol_version": {"type": "str", "choices": ["3.1.1", "5"], "default": "5"},
        "keepalive": {"type": "int", "default": 60},
        "connect_timeout": {"type": "float", "default": 5},
    }


def text_problem(text: str) -> str | None:
    """Say why MQTT could not transport a text, or None. Does not quote it: it may be a password."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if not size:
        return "it is empty"
    if size > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    return "it has a NUL character" if "\0" in text else None


def _where_problems(options: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What is wrong with the options that say where the broker is."""
    if options["transport"] == "unix":
        if options["socket"] is None:
            yield "transport=unix needs socket"
        if options["port"] is not None:
            yield "port makes no sense with transport=unix"
        if options["tls"]:
            yield "tls makes no sense with transport=unix"
        return
    if options["socket"] is not None:
        yield "socket needs transport=unix"
    if not options["host"].strip():
        yield "host is empty"
    problem = None if options["port"] is None else port_problem("port", options["port"])
    if problem:
        yield problem
    if options["transport"] == "websockets" and not re.fullmatch(r"/[!-~]*", options["websockets_path"]):
        yield f"websockets_path: {options['websockets_path']!r} is no path of a URL, which starts with '/' and has no blanks"


def option_problems(options: t.Mapping[str, t.Any]) -> list[str]:
    """List what is wrong with the options of a connection. Quotes no secret."""
    problems = list(_where_problems(options))
    problems += [
        f"{name} needs tls=true"
        for name in ("ca_path", "client_cert", "client_key")
        if options[name] is not None and not options["tls"]
    ]
    if options["client_key"] is not None and options["client_cert"] is None:
        problems.append("client_key needs client_cert")
    if options["password"] is not None and options["username"] is None:
        problems.append("password needs username")
    for name in ("username", "password", "client_id"):
        problem = None if options[name] is None else text_problem(options[name])
        if problem:
            problems.append(f"{name}: {problem}")
    if not 0 <= options["keepalive"] <= MAX_BYTES:
        problems.append(f"keepalive: {options['keepalive']} is not between 0 and {MAX_BYTES}")
    problem = seconds_problem("connect_timeout", options["connect_timeout"])
    return [*problems, problem] if problem else problems


def port_problem(name: str, value: int) -> str | None:
    """Say why something is no port, or None."""
    return None if 1 <= value <= MAX_PORT else f"{name}: {value} is not between 1 and {MAX_PORT}"


def seconds_problem(name: str, value: float) -> str | None:
    """Say why something cannot be waited for that long, or None."""
    return None if 0 < value < float("inf") else f"{name}: {value:g} is no time in seconds above 0"


def topic_problem(topic: str) -> str | None:
    """Say what is wrong with a topic name that is to be published on, or None."""
    if not topic:
        return "a topic cannot be empty"
    wildcards = sorted({"+", "#"} & set(topic))
    if wildcards:
        return f"{topic!r}: nothing can be published on wildcards ({', '.join(wildcards)})"
    return _topics.filter_problem(topic)


def port(options: t.Mapping[str, t.Any]) -> int:
    """The port that the options mean. Not for unix sockets."""
    return options["port"] or DEFAULT_PORTS[options["transport"], options["tls"]]


def place(options: t.Mapping[str, t.Any]) -> str:
    """Where the broker is, in words."""
    if options["transport"] == "unix":
        return f"the socket {options['socket']}"
    ways = ["websockets"] * (options["transport"] == "websockets") + ["TLS"] * options["tls"]
    return f"{options['host']} port {port(options)}" + (f" ({', '.join(ways)})" if ways else "")


def reason(code: int) -> str:
    """A reason code of MQTT 5 in words."""
    return f"{REASON_CODES.get(code, 'a reason without a name')} (reason code {code})"


def return_code(code: int) -> str:
    """A return code of MQTT 3.1.1 in words."""
    return f"{CONNECT_RETURN_CODES.get(code, 'a reason without a name')} (return code {code})"


def connect_refusal(code: int, protocol_version: str) -> Failure:
    """What a CONNACK with anything but 0 says. Codes below 0x80 are those of MQTT 3.1.1, whatever the client speaks."""
    words = return_code(code) if code < FIRST_REFUSAL else reason(code)
    if code in NOT_LET_IN:
        return Failure("login", f"the broker does not let this client in: {words}")
    if code == CLIENT_ID_OR_KEEPALIVE:
        words += "; Mosquitto says so too if keepalive is above its max_keepalive, or 0"
    if code in UNSUPPORTED_VERSION:
        other = "3.1.1" if protocol_version == "5" else "5"
        words += f'; try protocol_version: "{other}"'
    return Failure("refused", f"the broker refused the connection: {words}")


def acceptance(protocol_version: str, qos: int, code: int | None) -> tuple[str, str]:
    """Whether a message was accepted, and why that is known or not. The code is that of PUBACK or PUBREC."""
    if qos == 0:
        return "unknown", "Messages of QoS 0 are not acknowledged."
    if protocol_version != "5":
        return (
            "unknown",
            "The broker acknowledged the message. With MQTT 3.1.1 it does so too with messages that it refuses and drops.",
        )
    if code is None:
        return "unknown", "The broker did not acknowledge the message."
    if code >= FIRST_REFUSAL:
        return "refused", f"The broker refused the message: {reason(code)}."
    if code == 0:
        return "accepted", "The broker accepted the message."
    return "accepted", f"The broker accepted the message, and says: {reason(code)}."
