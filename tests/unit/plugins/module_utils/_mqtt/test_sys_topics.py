# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The $SYS topics of a broker, as data."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import sys_topics

# from Debian's brokers, shortened to their differences
OLD = {
    "$SYS/broker/version": "mosquitto version 2.0.11",
    "$SYS/broker/uptime": "708 seconds",
    "$SYS/broker/load/messages/received/1min": "0.79",
}
NEW = {
    "$SYS/broker/version": "mosquitto version 2.1.2",
    "$SYS/broker/uptime": "81 seconds",
    "$SYS/broker/clients/connected": "3",
    "$SYS/broker/clients/disconnected": "-1",
    "$SYS/broker/clients/maximum": "4",
    "$SYS/broker/clients/total": "2",
    "$SYS/broker/subscriptions/count": "5",
    "$SYS/broker/retained messages/count": "55",
    "$SYS/broker/messages/stored": "56",
    "$SYS/broker/messages/received": "10",
    "$SYS/broker/messages/sent": "11",
    "$SYS/broker/publish/messages/received": "12",
    "$SYS/broker/publish/messages/sent": "13",
    "$SYS/broker/publish/messages/dropped": "14",
    "$SYS/broker/bytes/received": "15",
    "$SYS/broker/bytes/sent": "16",
    **{
        f"$SYS/broker/load/{name}/{interval}": f"{number}.{minutes:02}"
        for number, name in enumerate(
            [
                "messages/received",
                "messages/sent",
                "publish/received",
                "publish/sent",
                "publish/dropped",
                "bytes/received",
                "bytes/sent",
            ],
            10,
        )
        for interval, minutes in {"1min": 1, "5min": 5, "15min": 15}.items()
    },
}
NOTHING = {"count": None, "rate_1min": None, "rate_5min": None, "rate_15min": None}


def counter(number: int) -> dict[str, float]:
    return {"count": number, "rate_1min": number + 0.01, "rate_5min": number + 0.05, "rate_15min": number + 0.15}


def test_all_topics_of_a_new_broker():
    assert sys_topics.parse(NEW) == {
        "version": "2.1.2",
        "uptime": 81,
        "subscriptions": 5,
        "clients": {"connected": 3, "disconnected": -1, "total": 2, "maximum": 4},
        "messages": {
            "stored": 56,
            "retained": 55,
            "received": counter(12),
            "sent": counter(13),
            "dropped": counter(14),
        },
        "packets": {"received": counter(10), "sent": counter(11)},
        "bytes": {"received": counter(15), "sent": counter(16)},
    }


def test_missing_topics_are_null():
    found = sys_topics.parse(OLD)
    assert found["version"] == "2.0.11"
    assert found["uptime"] == 708
    assert set(found["clients"].values()) == {None}
    assert found["packets"] == {"received": NOTHING | {"rate_1min": 0.79}, "sent": NOTHING}
    assert found["messages"]["dropped"] == NOTHING


@pytest.mark.parametrize("text", ["", "x", "1.5", "nan", "1e5", "٣"])
def test_invalid_numbers_are_null(text):
    assert sys_topics.parse({"$SYS/broker/uptime": text})["uptime"] is None


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e5", "1."])
def test_invalid_rates_are_null(text):
    found = sys_topics.parse({"$SYS/broker/load/bytes/sent/1min": text})
    assert found["bytes"]["sent"] == NOTHING


def test_the_version_of_another_broker():
    assert sys_topics.parse({"$SYS/broker/version": "other 5"})["version"] == "other 5"


@pytest.mark.parametrize(
    ("version", "may_end"),
    [
        ("mosquitto version 2.0.11", False),
        ("mosquitto version 2.0.17", False),
        ("mosquitto version 1.6.9", False),
        ("mosquitto version 2.0.18", True),
        ("mosquitto version 2.0.21", True),
        ("mosquitto version 2.1.2", True),
        ("other 5", True),
    ],
)
def test_the_end_of_the_topics_depends_on_the_version(version, may_end):
    topics = {"$SYS/broker/version": version}
    assert sys_topics.may_end(topics) is may_end
    assert sys_topics.may_end(topics | {"$SYS/broker/bytes/received": "1"})
