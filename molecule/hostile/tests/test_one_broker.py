# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""With one public broker, new clients wait while it restarts."""

from __future__ import annotations

import time

import pytest
from firehose_testing.clients import WAYS, PahoSubscriber, Way
from firehose_testing.fixtures import only_host, reached

# Seconds without a broker, less than paho-mqtt's timeout of 5 s, and the time after which HAProxy ends the connection.
AWAY, LONGEST = 3, 15


@pytest.mark.parametrize("way", WAYS[1::2], ids=str)
def test_new_clients_wait_for_the_only_broker(way: Way) -> None:
    _name, host, address = reached(only_host("firehose"))
    host.check_output(
        f"systemctl stop mosquitto@1 && systemd-run --quiet --on-active={AWAY} --timer-property=AccuracySec=100ms"
        " systemctl start mosquitto@1"
    )
    start = time.monotonic()
    with PahoSubscriber(address, way):
        waited = time.monotonic() - start
    assert AWAY - 2 < waited < LONGEST
