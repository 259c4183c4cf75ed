# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection and may change at any time.

from __future__ import annotations


class ModuleDocFragment:
    """The options of a connection to an MQTT broker."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The name or address of the broker. Ignored with O(transport=unix).
    type: str
    default: localhost
  port:
    description:
      - The TCP port, 1 to 65535. Cannot be given with O(transport=unix).
      - By default V(1883), V(8883) with O(tls=true), V(80) with O(transport=websockets), V(443) with both.
    type: int
  transport:
    description: What carries MQTT.
    type: str
    choices:
      tcp: TCP itself.
      websockets: Websockets, for firewalls that let nothing but HTTP pass.
      unix: A unix socket, O(socket).
    default: tcp
  socket:
    description: The path of the unix socket. Needed with O(transport=unix), and cannot be given otherwise.
    type: path
  websockets_path:
    description: The path of the URL with O(transport=websockets). Mosquitto takes any. Ignored otherwise.
    type: str
    default: /mqtt
  tls:
    description: Whether the connection is encrypted with TLS. Not with O(transport=unix).
    type: bool
    default: false
  ca_path:
    description:
      - A file with the certificates, in PEM format, of the authorities that are trusted to have signed the broker's certificate.
        By default those that the host trusts. Needs O(tls=true).
    type: path
  client_cert:
    description:
      - A file with the certificate, in PEM format, that the client shows to the broker. It may include the key. Needs O(tls=true).
    type: path
  client_key:
    description: A file with the key of O(client_cert), in PEM format and not encrypted, if O(client_cert) does not include it.
    type: path
  validate_certs:
    description:
      - Whether the broker has to show a certificate that is valid, and is for O(host).
      - V(false) accepts anonymous clients between read the password. Ignored without O(tls=true).
    type: bool
    default: true
  username:
    description: The name to log in with. By default the client is anonymous.
    type: str
  password:
    description: The password of O(username).
    type: str
  client_id:
    description:
      - The client identifier. By default a random one that nobody can guess.
      - Whoever connects with the identifier of another client takes its session over, and the other one is disconnected. So give one only
        where the broker's rules ask for it.
    type: str
  protocol_version:
    description:
      - The version of MQTT. Only with V(5) does a broker give reasons, above all for refusing a message.
    type: str
    choices: ["3.1.1", "5"]
    default: "5"
  keepalive:
    description:
      - The number of seconds, 0 to 65535, without a sign of life after which each side takes the other for dead. V(0) is never.
      - The client sends a sign of life in time, by itself. With MQTT 5 a broker may want one more often, and gets it; with MQTT 3.1.1 it may
        refuse the client instead.
    type: int
    default: 60
  connect_timeout:
    description:
      - The number of seconds that the broker has to answer. They are counted anew for the whole of the connection and the login, for the
        acknowledgement of a message, for that of a subscription, and for taking leave.
      - How long the name of the host is looked up is left to the host's own settings.
    type: float
    default: 5
notes:
  - Proxies are not supported. Environment variables that name one are ignored.
"""
