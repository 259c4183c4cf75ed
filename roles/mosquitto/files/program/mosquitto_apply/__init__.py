# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a changed configuration to a running Mosquitto: test it, install it atomically, and roll back if the broker does not serve."""
