# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One broker instead of all, since a run takes time. Differences between releases of Mosquitto are tested elsewhere."""

from __future__ import annotations

import pytest
from firehose_testing.brokers import Brokers, Role, host_in


@pytest.fixture(scope="session")
def brokers(brokers: Brokers) -> Brokers:
    name = host_in("downstream")
    return Brokers({name: brokers[name]})


@pytest.fixture(scope="session")
def role(brokers: Brokers) -> Role:
    return Role(brokers)
