# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that subscribers can use at a core host, on each Debian release."""

from __future__ import annotations

import pytest
from firehose_testing import subscribing
from firehose_testing.clients import ACCOUNT_WAYS, QOS1, publish
from firehose_testing.fixtures import Firehose, Firehoses


@pytest.mark.parametrize("case", subscribing.CASES, ids=str)
def test_subscribers_get_the_documented_results(firehoses: Firehoses, case: subscribing.Case) -> None:
    def check(firehose: Firehose) -> None:
        account = firehose.publishers["ci-1"]
        subscribing.check(
            case,
            firehose,
            lambda payload: publish(firehose.address, account, ACCOUNT_WAYS[0], QOS1, {subscribing.TOPIC: payload}),
        )

    firehoses.each(check)
