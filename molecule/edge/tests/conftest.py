# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge hosts."""

from __future__ import annotations

import pytest
from firehose_testing.fixtures import Firehose, Firehoses, names_of, reached


@pytest.fixture(scope="session")
def edges() -> Firehoses:
    """All edge hosts. They have no accounts."""
    return Firehoses({name: Firehose(*reached(name), {}, {}) for name in names_of("firehose_edges")})
