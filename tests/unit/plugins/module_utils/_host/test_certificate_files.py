# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time until a certificate expires."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._host import certificate_files

END = 1803902400
CERTIFICATE = {
    "notAfter": "Mar  1 12:00:00 2027 GMT",
    "subject": ((("commonName", "firehose01.example.org"),),),
    "issuer": ((("organizationName", "Let's Encrypt"),), (("commonName", "E8"),)),
}


@pytest.mark.parametrize(("seconds", "days"), [(86400, 1), (86399, 0), (0, 0), (-1, -1), (86400 * 14 + 1, 14)])
def test_the_remaining_days_are_whole_days(seconds, days):
    assert certificate_files.describe(CERTIFICATE, END - seconds) == {
        "not_after": "2027-03-01T12:00:00Z",
        "days_left": days,
        "subject": "commonName=firehose01.example.org",
        "issuer": "organizationName=Let's Encrypt, commonName=E8",
    }


def test_the_remaining_days_as_text():
    described = certificate_files.describe(CERTIFICATE, END - 86400)
    assert certificate_files.lasts(described) == "1 day left, until 2027-03-01T12:00:00Z"
    assert certificate_files.lasts({**described, "days_left": 0}).startswith("0 days left")


def test_a_certificate_without_a_subject():
    assert certificate_files.describe({"notAfter": CERTIFICATE["notAfter"]}, 0)["subject"] == ""
