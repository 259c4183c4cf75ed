# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that serve the public beside the core."""

from __future__ import annotations

import pytest
from firehose_testing.clients import Account
from firehose_testing.edges import Edge, Edges
from firehose_testing.fixtures import Firehose, Firehoses, evaluated, reached


@pytest.fixture(scope="session")
def edges() -> Edges:
    """All edges."""
    found = Edges()
    for name, variables in evaluated("firehose_edges", "firehose_edge_engine").items():
        found[name] = Edge(*reached(name), {}, {}, variables["firehose_edge_engine"] or "mosquitto")
    return found


@pytest.fixture(scope="session")
def core(firehoses: Firehoses) -> Firehose:
    """Where all events come from."""
    [found] = firehoses.values()
    return found


@pytest.fixture(scope="session")
def ci(core: Firehose) -> Account:
    """A publisher that may use all topics."""
    return core.publishers["ci"]
