# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of the cluster."""

from __future__ import annotations

import pytest
from firehose_testing.fixtures import Firehose, Firehoses, names_of, reached


@pytest.fixture(scope="session")
def nodes() -> Firehoses:
    """All nodes, in the order in which the bridge connects to them."""
    return Firehoses({name: Firehose(*reached(name), {}, {}) for name in names_of("rabbitmq")})
