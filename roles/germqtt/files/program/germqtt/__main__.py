# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run germqtt with ``python3 -m germqtt``."""

import sys

from germqtt.cli import main

sys.exit(main())
