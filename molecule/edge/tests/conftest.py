# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core host and its edge hosts."""

from __future__ import annotations

import pytest
from firehose_testing.clients import Account
from firehose_testing.fixtures import Firehose, Firehoses, names_of, reached


@pytest.fixture(scope="session")
def edges() -> Firehoses:
    """All edge hosts. They have no accounts."""
    return Firehoses({name: Firehose(*reached(name), {}, {}) for name in names_of("firehose_edges")})


@pytest.fixture(scope="session")
def core(firehoses: Firehoses) -> Firehose:
    """The core host."""
    [found] = firehoses.values()
    return found


@pytest.fixture(scope="session")
def ci(core: Firehose) -> Account:
    """A publisher that is allowed to use all topics."""
    return core.publishers["ci"]
