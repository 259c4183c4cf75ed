# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection and may change at any time.

"""Validation for the role germqtt: it rejects values that germqtt's configuration or OpenSSH's files cannot hold."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t

from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, topic_filters
from ansible_collections.opendev.firehose.plugins.plugin_utils import _private_key, _types

SINGLE_LINES = ("germqtt_gerrit_user", "germqtt_mqtt_username", "germqtt_mqtt_password", "germqtt_topic")
LEAST = {
    "germqtt_max_payload": 0,
    "germqtt_republish_max": 0,
    "germqtt_store_max_mib": 1,
    "germqtt_store_max_days": 0.0001,
    "germqtt_connect_timeout": 0,
    "germqtt_settle": 0,
}
LARGEST_PACKET = 268435455  # of MQTT
MOST_REPUBLISHED = 100_000


def host_key_problem(host_key: str) -> str | None:
    """Say why this is not a line of type and key, as in ``ssh_host_*_key.pub``, or None."""
    fields = re.split(r"[ \t]+", host_key.strip(" \t"))
    if len(fields) < 2 or not re.fullmatch(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+", fields[0]):
        return "it is not of the form 'ssh-ed25519 AAAA...' (without a host name)"
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError):
        return "its key is not Base64"
    # RFC 4253, 6.6: the key repeats its type, with its length before it.
    if blob[4 : 4 + len(fields[0])] != fields[0].encode():
        return f"its key is not one of the type {fields[0]}"
    # The shortest key, of ed25519, has 32 bytes after the type and two lengths.
    if len(blob) < len(fields[0]) + 40:
        return "its key is cut off"
    return None


def _text_problems(variables: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for name in SINGLE_LINES:
        value = str(variables[name])
        if value != value.strip():
            yield f"{name}: germqtt's configuration cannot hold blanks at either end"
    for name in ("germqtt_gerrit_host", "germqtt_mqtt_host"):
        if not _types.HOST.fullmatch(str(variables[name])):
            yield f"{name}: {variables[name]!r} is not the name or the address of a host"


def _key_problems(variables: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    host_keys = variables["germqtt_gerrit_host_keys"]
    if not host_keys:
        yield "germqtt_gerrit_host_keys: at least one key is needed; an unknown host is rejected"
    for index, host_key in enumerate(host_keys):
        problem = host_key_problem(str(host_key))
        if problem:
            yield f"germqtt_gerrit_host_keys[{index}]: {problem}"
    problem = _private_key.problem(str(variables["germqtt_ssh_private_key"]))
    if problem:
        yield f"germqtt_ssh_private_key: {problem}"


def _topic_problem(topic: str) -> str | None:
    if any(char in topic for char in "+#"):
        return "a topic that is published to cannot have wildcards"
    if topic.startswith("$"):
        return "topics that start with '$' belong to the broker"
    return topic_filters.filter_problem(topic)


def _broker_problems(variables: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    ca_file = variables.get("germqtt_mqtt_ca_file")
    if ca_file is not None and not str(ca_file).startswith("/"):
        yield f"germqtt_mqtt_ca_file: {ca_file!r} is not an absolute path"
    if ca_file is not None and not variables["germqtt_mqtt_tls"]:
        yield "germqtt_mqtt_ca_file: only with germqtt_mqtt_tls"
    if variables["germqtt_source"] == "pypi":
        if variables["germqtt_mqtt_port"] != 1883:
            yield "germqtt_mqtt_port: germqtt 0.1.0 (germqtt_source is pypi) can use no port but 1883"
        if variables["germqtt_mqtt_tls"]:
            yield "germqtt_mqtt_tls: germqtt 0.1.0 (germqtt_source is pypi) knows no TLS"
        if variables["germqtt_project_topics"]:
            yield "germqtt_project_topics: germqtt 0.1.0 (germqtt_source is pypi) does not have this option"


def _number_problems(variables: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for name in ("germqtt_gerrit_port", "germqtt_mqtt_port"):
        problem = client_options.port_problem(name, variables[name])
        if problem:
            yield problem
    for name, least in LEAST.items():
        if variables[name] < least:
            yield f"{name}: {variables[name]} is less than {least}"
    if variables["germqtt_max_payload"] > LARGEST_PACKET:
        yield f"germqtt_max_payload: {variables['germqtt_max_payload']} is more than {LARGEST_PACKET}"
    if variables["germqtt_republish_max"] > MOST_REPUBLISHED:
        yield f"germqtt_republish_max: {variables['germqtt_republish_max']} is more than {MOST_REPUBLISHED}"


def problems(variables: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> list[str]:
    """List the problems of the role's variables, each line naming the variable. Quotes no secret.

    The options are those of the role's argument specs.
    """
    found = _types.problems(variables, options, ("germqtt_ssh_private_key",))
    if found:
        return found
    found = [
        *_text_problems(variables),
        *_key_problems(variables),
        *_broker_problems(variables),
        *_number_problems(variables),
    ]
    problem = _topic_problem(str(variables["germqtt_topic"]))
    if problem:
        found.append(f"germqtt_topic: {problem}")
    if (str(variables["germqtt_mqtt_username"]) == "") != (str(variables["germqtt_mqtt_password"]) == ""):
        found.append("germqtt_mqtt_username, germqtt_mqtt_password: either both or none")
    return found
