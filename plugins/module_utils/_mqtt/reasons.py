# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers of a broker in words, and the failures of a connection. Pure functions."""

from __future__ import annotations

# From here on the reason codes of MQTT 5 are rejections, and so are those in a SUBACK of 3.1.1.
FIRST_REFUSAL = 0x80

# MQTT 3.1.1, table 3.1
CONNECT_RETURN_CODES = {
    1: "unsupported protocol version",
    2: "client identifier not valid",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
# MQTT 5.0, section 2.4: the codes that a broker sends to a client like this one
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
    """The reason why a session fails or has ended; ``cause`` is the modules' return value of that name."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def reason(code: int) -> str:
    """A reason code of MQTT 5 in words."""
    return f"{REASON_CODES.get(code, 'a reason without a name')} (reason code {code})"


def return_code(code: int) -> str:
    """A return code of MQTT 3.1.1 in words."""
    return f"{CONNECT_RETURN_CODES.get(code, 'a reason without a name')} (return code {code})"


def connack(code: int) -> str:
    """The code of a CONNACK in words. Codes below 0x80 are those of MQTT 3.1.1, with any version of the client."""
    return return_code(code) if code < FIRST_REFUSAL else reason(code)


def connect_refusal(code: int, protocol_version: str) -> Failure:
    """The failure for a CONNACK with a code other than 0."""
    words = connack(code)
    if code in NOT_LET_IN:
        return Failure("login", f"the broker does not let this client in: {words}")
    if code == CLIENT_ID_OR_KEEPALIVE:
        words += "; Mosquitto says so too if keepalive is above its max_keepalive, or 0"
    if code in UNSUPPORTED_VERSION:
        other = "3.1.1" if protocol_version == "5" else "5"
        words += f'; try protocol_version: "{other}"'
    return Failure("refused", f"the broker rejected the connection: {words}")


def acceptance(protocol_version: str, qos: int, code: int | None) -> tuple[str, str]:
    """Return whether a message was accepted, and why that is known or not. The code is that of PUBACK or PUBREC."""
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
        return "refused", f"The broker rejected the message: {reason(code)}."
    if code == 0:
        return "accepted", "The broker accepted the message."
    return "accepted", f"The broker accepted the message, and says: {reason(code)}."
