# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that cannot set up germqtt leaves the brokers as they were."""

from __future__ import annotations

from firehose_testing.fixtures import Firehose, Firehoses
from firehose_testing.runs import try_playbook

STATE = (
    "sha256sum /etc/mosquitto/passwd /etc/mosquitto/acl /etc/mosquitto-public/acl /etc/germqtt/germqtt.conf;"
    " readlink /etc/mosquitto/live /etc/mosquitto-public/live;"
    " systemctl show --property MainPID,ActiveEnterTimestamp,StateChangeTimestamp mosquitto mosquitto@public germqtt"
)


def state(firehose: Firehose) -> str:
    return firehose.host.check_output(STATE)


def test_a_gerrit_that_does_not_answer_changes_no_broker(firehoses: Firehoses) -> None:
    """Not even what the same run would change of accounts and of what anonymous clients get."""
    [firehose, *_others] = firehoses.values()
    before = state(firehose)
    done = try_playbook(
        "firehose",
        *("--limit", firehose.name),
        germqtt_gerrit_port=29419,
        firehose_public_topics=["gerrit/#"],
        firehose_readers=[{"name": "newcomer", "password": "only-for-tests-new"}],
    )
    assert done.returncode == 2, done.stdout
    assert "germqtt_gerrit_host, germqtt_gerrit_port: " in done.stdout
    assert state(firehose) == before
