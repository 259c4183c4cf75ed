# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection and may change at any time.

"""How long a certificate lasts, from what Python's ssl says of one that was found valid."""

from __future__ import annotations

import datetime
import math
import ssl
import typing as t

DAY = 86400


def _name(parts: t.Iterable[t.Iterable[tuple[str, str]]]) -> str:
    """A subject or an issuer in one line."""
    return ", ".join(f"{key}={value}" for part in parts for key, value in part)


def describe(certificate: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """What the modules return of a certificate, given the time in seconds since 1970."""
    end = ssl.cert_time_to_seconds(certificate["notAfter"])
    return {
        "not_after": datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": math.floor((end - now) / DAY),
        "subject": _name(certificate.get("subject", ())),
        "issuer": _name(certificate.get("issuer", ())),
    }


def lasts(described: t.Mapping[str, t.Any]) -> str:
    """The same in words."""
    days = described["days_left"]
    return f"{days} day{'' if days == 1 else 's'} left, until {described['not_after']}"
