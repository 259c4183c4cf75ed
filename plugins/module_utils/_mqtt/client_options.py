# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that all modules that are MQTT clients have in common. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import topic_filters

DEFAULT_PORTS = {("tcp", False): 1883, ("tcp", True): 8883, ("websockets", False): 80, ("websockets", True): 443}
MAX_BYTES = 65535
MAX_PORT = 65535
# The longest timeout, which is 31 years. Python's sockets accept less than ten times that.
MAX_SECONDS = 10**9


def argument_spec() -> dict[str, t.Any]:
    """The options of a connection, as in the doc fragment _mqtt."""
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
    """Say why MQTT cannot transport a text, or None. Does not quote it: it may be a password."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if not size:
        return "it is empty"
    if size > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    return "it has a NUL character" if "\0" in text else None


def text_problems(texts: t.Mapping[str, str | None]) -> list[str]:
    """List the problems of named texts, which may be missing or empty. Quotes none of them."""
    problems = {name: text_problem(text) for name, text in texts.items() if text}
    return [f"{name}: {problem}" for name, problem in problems.items() if problem]


def _where_problems(options: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """The problems of the options for the broker's address."""
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
    """List the problems of the options of a connection. Quotes no secret."""
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
    """Say why a number is not a port, or None."""
    return None if 1 <= value <= MAX_PORT else f"{name}: {value} is not between 1 and {MAX_PORT}"


def seconds_problem(name: str, value: float) -> str | None:
    """Say why a number is not a timeout, or None."""
    return (
        None
        if 0 < value <= MAX_SECONDS
        else f"{name}: {value:g} is no number of seconds above 0 and up to {MAX_SECONDS}"
    )


def topic_problem(topic: str) -> str | None:
    """Say why a client cannot publish on a topic, or None."""
    if not topic:
        return "a topic cannot be empty"
    wildcards = sorted({"+", "#"} & set(topic))
    if wildcards:
        return f"{topic!r}: nothing can be published on wildcards ({', '.join(wildcards)})"
    return topic_filters.filter_problem(topic)


def port(options: t.Mapping[str, t.Any]) -> int:
    """The port, or the default port of transport and TLS. Not for unix sockets."""
    return options["port"] or DEFAULT_PORTS[options["transport"], options["tls"]]


def place(options: t.Mapping[str, t.Any]) -> str:
    """The broker's address in words."""
    if options["transport"] == "unix":
        return f"the socket {options['socket']}"
    ways = ["websockets"] * (options["transport"] == "websockets") + ["TLS"] * options["tls"]
    return f"{options['host']} port {port(options)}" + (f" ({', '.join(ways)})" if ways else "")
