# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""germqtt: publish Gerrit's event stream over MQTT, and lose no event silently.

stream.py reads it, store.py keeps each line until the broker has acknowledged it, publisher.py publishes what is kept.
service.py runs them in one thread: a single asyncio loop, so that a loop that turns is a process that works.
"""

VERSION = "1.0.0"
