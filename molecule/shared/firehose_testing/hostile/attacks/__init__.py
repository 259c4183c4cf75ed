# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All attacks, in the order in which they run."""

from ..attack import ATTACKS, main  # noqa: I001
from . import publishing, names, sessions, reading, floods, subscriptions, sizes, costs, insiders, http, fuzz  # noqa: F401

__all__ = ["ATTACKS", "main"]
