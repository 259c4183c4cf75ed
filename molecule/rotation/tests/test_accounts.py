# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accounts can log in and publish, before and after the rotation. Only messages that another client receives count."""

from __future__ import annotations

import pytest
from firehose_testing.clients import ACCOUNT_WAYS, Account, PahoSubscriber, Way
from firehose_testing.fixtures import Firehoses
from firehose_testing.rotation import AFTER, BEFORE, Story, is_let_in, own_topics, reached

ACL = "/etc/mosquitto/acl"
LEAF = "$SYS/broker/clients/connected"

# credentials that are not valid any more
GONE = {
    "germqtt's old password": BEFORE["germqtt"],
    "zuul's old password": BEFORE["zuul"],
    "the removed account": BEFORE["lpmqtt"],
    "the removed account without a password": Account("lpmqtt"),
    "another one's new password": Account("ansible", AFTER["zuul"].password),
}


def test_each_account_could_publish_before_the_rotation(story: Story) -> None:
    expected = {name: own_topics(account) for name, account in BEFORE.items()}
    assert all(expected.values())
    assert story.reached_before == dict.fromkeys(story.reached_before, expected)


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("account", GONE)
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_old_credentials_are_rejected(firehoses: Firehoses, way: Way, account: str) -> None:
    assert firehoses.each(lambda firehose: is_let_in(firehose, GONE[account], way)) == dict.fromkeys(firehoses, False)
    assert firehoses.each(lambda firehose: reached(firehose, GONE[account], way)) == {name: set() for name in firehoses}


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("account", AFTER)
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_each_account_can_publish_only_on_its_topics_afterwards(firehoses: Firehoses, way: Way, account: str) -> None:
    own = own_topics(AFTER[account])
    assert own
    assert firehoses.each(lambda firehose: reached(firehose, AFTER[account], way)) == dict.fromkeys(firehoses, own)


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("way", ACCOUNT_WAYS, ids=str)
def test_a_reader_can_still_read_its_topic(firehoses: Firehoses, way: Way) -> None:
    for firehose in firehoses.values():
        [reader] = firehose.readers.values()
        with PahoSubscriber(firehose.address, way, [LEAF], reader) as subscriber:
            subscriber.wait_for(topic=LEAF)


def test_the_removed_account_has_no_rules_left(story: Story) -> None:
    for before, _check, after, _repeat in story.states.values():
        assert "user lpmqtt\n" in before.files[ACL]
        assert "launchpad/" in before.files[ACL]
        assert "lpmqtt" not in after.files[ACL]
        assert "launchpad/" not in after.files[ACL]
