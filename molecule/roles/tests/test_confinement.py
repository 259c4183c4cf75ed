# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much systemd keeps from the services, by its own measure: 0 is best, 10 is worst."""

from __future__ import annotations

import pytest
import testinfra
from firehose_testing.brokers import Broker, host_in


def exposure(broker: Broker, what: str) -> float:
    report = broker.host.check_output(f"systemd-analyze security --no-pager {what}")
    last = report.splitlines()[-1]
    assert "Overall exposure level" in last
    return float(last.rpartition(": ")[2].split()[0])


@pytest.fixture(scope="module")
def germqtt_unit() -> str:
    """The unit that the role germqtt wrote, which is the same for all releases."""
    host = testinfra.get_host(f"docker://{host_in('germqtt')}")
    return host.file("/etc/systemd/system/germqtt.service").content_string


def test_mosquitto_is_confined(broker: Broker) -> None:
    assert exposure(broker, "mosquitto.service") <= 1.7


def test_germqtt_is_confined(broker: Broker, germqtt_unit: str) -> None:
    broker.host.check_output("mkdir -p /tmp/unit && printf %%s %s >/tmp/unit/germqtt.service", germqtt_unit)
    assert exposure(broker, "--offline=yes /tmp/unit/germqtt.service") <= 1.5
