#!/usr/bin/python
# SPDX-FileCopyrightText: the opendev.firehose authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mqtt_info
short_description: Read what an MQTT broker tells of itself
version_added: 2.0.0
author: the opendev.firehose authors (@opendev)
description:
  - Reads the topics below C($SYS/broker) that Mosquitto publishes, and other brokers too.
  - They are only as fresh as the broker publishes them, which is every 10 seconds with Mosquitto, unless its C(sys_interval) is another one.
  - The account needs the right to read C($SYS/broker/#), or those of its topics that are wanted.
extends_documentation_fragment:
  - opendev.firehose._attributes
  - opendev.firehose._attributes.read_only
  - opendev.firehose._attributes.actiongroup_mqtt
  - opendev.firehose._mqtt
options:
  timeout:
    description:
      - The number of seconds to wait until the broker has told everything. Usually it does so at once. After its start, and with
        Mosquitto before 2.0.18, it may take as long as the broker's C(sys_interval).
    type: float
    default: 15
  certificate_warn_days:
    description: With O(tls=true), a certificate of the broker's that lasts fewer days is warned of. With V(0) none is.
    type: int
    default: 14
    version_added: 3.0.0
seealso:
  - module: opendev.firehose.mqtt_publish
  - module: opendev.firehose.mqtt_subscribe
  - name: Broker status
    description: What Mosquitto says of these topics.
    link: https://mosquitto.org/man/mosquitto-8.html
"""

EXAMPLES = r"""
- name: Read what the broker tells of itself
  opendev.firehose.mqtt_info:
    host: mqtt.example.org
    username: statistics
    password: "{{ vault_statistics_mqtt_password }}"
  register: broker

- name: Show whether subscribers are too slow
  ansible.builtin.debug:
    msg: "{{ broker.messages.dropped.rate_5min | default(0, true) }} messages a minute are dropped"
"""

RETURN = r"""
version:
  description:
    - The version of Mosquitto, or what another broker says there.
    - This and every number below is V(null) if the broker does not tell it, or not to this account. Mosquitto before 2.0.18, as in
      Debian 12, does not tell most numbers that have not changed for a minute.
  returned: success
  type: str
  sample: 2.0.21
uptime:
  description: The number of seconds since the start of the broker.
  returned: success
  type: int
  sample: 86400
subscriptions:
  description: The number of subscriptions.
  returned: success
  type: int
  sample: 12
clients:
  description: The numbers of clients.
  returned: success
  type: dict
  contains:
    connected:
      description: Those that are connected.
      returned: success
      type: int
      sample: 10
    disconnected:
      description: Those that are not connected, and whose session the broker keeps. Mosquitto may say V(-1) for a moment.
      returned: success
      type: int
      sample: 2
    total:
      description: Those of both kinds.
      returned: success
      type: int
      sample: 12
    maximum:
      description: The most that there were at a time.
      returned: success
      type: int
      sample: 20
messages:
  description: The numbers of messages.
  returned: success
  type: dict
  contains:
    stored:
      description: Those that the broker holds, among them the retained ones and those for clients that are not connected.
      returned: success
      type: int
      sample: 60
    retained:
      description: The retained ones.
      returned: success
      type: int
      sample: 55
    received:
      description: Those that were published to the broker.
      returned: success
      type: dict
      contains: &counter
        count:
          description: The number since the start of the broker.
          returned: success
          type: int
          sample: 1000
        rate_1min:
          description: The number in a minute, on the average of the last minute.
          returned: success
          type: float
          sample: 12.5
        rate_5min:
          description: The number in a minute, on the average of the last 5 minutes.
          returned: success
          type: float
          sample: 11.0
        rate_15min:
          description: The number in a minute, on the average of the last 15 minutes.
          returned: success
          type: float
          sample: 10.75
    sent:
      description: Those that the broker sent to subscribers.
      returned: success
      type: dict
      contains: *counter
    dropped:
      description: Those that the broker dropped since a queue was full or a limit was reached.
      returned: success
      type: dict
      contains: *counter
packets:
  description: The numbers of MQTT packets of any kind, of which messages are one. Mosquitto's topics call them messages.
  returned: success
  type: dict
  contains:
    received:
      description: Those that the broker received.
      returned: success
      type: dict
      contains: *counter
    sent:
      description: Those that the broker sent.
      returned: success
      type: dict
      contains: *counter
bytes:
  description: The numbers of bytes.
  returned: success
  type: dict
  contains:
    received:
      description: Those that the broker received.
      returned: success
      type: dict
      contains: *counter
    sent:
      description: Those that the broker sent.
      returned: success
      type: dict
      contains: *counter
certificate:
  description: The broker's certificate. V(null) without O(tls=true), and with O(validate_certs=false).
  returned: success
  type: dict
  contains:
    not_after:
      description: When it expires, in UTC.
      returned: success
      type: str
      sample: "2027-03-01T12:00:00Z"
    days_left:
      description: How many whole days are left until then.
      returned: success
      type: int
      sample: 42
    subject:
      description: Whose it is. It may be empty, since names of hosts stand elsewhere in a certificate.
      returned: success
      type: str
      sample: commonName=mqtt.example.org
    issuer:
      description: Who has signed it.
      returned: success
      type: str
      sample: countryName=US, organizationName=Let's Encrypt, commonName=E8
  version_added: 3.0.0
cause:
  description:
    - What was wrong. C(msg) says it in words.
    - It is not returned if the arguments were wrong.
    - V(unreachable) - The name of the host cannot be resolved, or nothing listens there, or there is no way to it.
    - V(no_answer) - The broker did not answer in time.
    - V(not_mqtt) - The port answers without MQTT, or closes the connection before the login.
    - V(tls) - There is no TLS connection, for example because the certificate of the broker is not valid, or one of the files is not.
    - V(login) - The user name or the password is wrong, or the client is not accepted.
    - V(refused) - The broker rejects the connection for another reason, for example since it does not know the version of MQTT.
    - V(lost) - The connection ended after the login.
    - V(subscription) - The broker rejected the subscription.
    - V(silent) - Nothing came. The account may not read these topics, or the broker does not publish them.
  returned: failure
  type: str
  choices: [unreachable, no_answer, not_mqtt, tls, login, refused, lost, subscription, silent]
  sample: silent
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import client_options, reasons, sys_topics
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt.session import Session, check_options

# The topics are retained, and a broker sends them one after the other: a pause of so many seconds is the end.
PAUSE = 0.5


def read(session: Session, timeout: float) -> dict[str, str]:
    """The payloads by their topics."""
    session.subscribe([sys_topics.FILTER], 0)
    deadline = time.monotonic() + timeout
    topics: dict[str, str] = {}
    until = deadline
    while session.run(lambda: bool(session.messages), until):
        message = session.messages.popleft()
        topics[message.topic] = message.payload.decode(errors="replace")
        if sys_topics.may_end(topics):
            until = min(deadline, time.monotonic() + PAUSE)
    return topics


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **client_options.argument_spec(),
            "timeout": {"type": "float", "default": 15},
            "certificate_warn_days": {"type": "int", "default": 14},
        },
        supports_check_mode=True,
    )
    params = module.params
    problem = client_options.seconds_problem("timeout", params["timeout"])
    check_options(module, [problem] if problem else [])
    try:
        with Session(params) as session:
            certificate = session.certificate()
            topics = read(session, params["timeout"])
    except reasons.Failure as exc:
        module.fail_json(msg=str(exc), cause=exc.cause)
    if not topics:
        module.fail_json(
            msg=f"{client_options.place(params)}: nothing came from {sys_topics.FILTER} within {params['timeout']:g} seconds: "
            "this account may not read it, or the broker does not publish it (sys_interval 0)",
            cause="silent",
        )
    if certificate and certificate["days_left"] < params["certificate_warn_days"]:
        module.warn(f"{client_options.place(params)}: the broker's certificate: {certificate_files.lasts(certificate)}")
    module.exit_json(changed=False, certificate=certificate, **sys_topics.parse(topics))


if __name__ == "__main__":
    main()
