# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets ``python3 -m germqtt`` run it."""

import sys

from germqtt.cli import main

sys.exit(main())
