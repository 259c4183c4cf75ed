# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the broker remembers."""

from __future__ import annotations

import uuid

from firehose_testing.brokers import Broker


def test_a_retained_message_survives_a_restart(broker: Broker) -> None:
    retained, gone = str(uuid.uuid4()), str(uuid.uuid4())
    with broker.session() as sender:
        sender.publish("both/kept", retained, retain=True)
        sender.publish("both/gone", gone)
    before = broker.show("MainPID")
    broker.host.check_output("systemctl restart mosquitto")
    assert broker.show("MainPID") != before
    with broker.session("both/#") as receiver:
        receiver.wait_for(payload=retained)
        receiver.fence()
        assert [(m.topic, m.retain) for m in receiver.messages if m.payload == retained] == [("both/kept", True)]
        assert receiver.got(gone) == set()
