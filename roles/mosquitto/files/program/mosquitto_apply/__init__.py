# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a changed configuration to a Mosquitto that is at work: tried out first, installed as one, taken back if it does not serve."""
