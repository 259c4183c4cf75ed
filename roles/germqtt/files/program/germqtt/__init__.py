# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""germqtt: publish Gerrit's event stream over MQTT, and lose no event silently.

stream.py reads the stream, store.py keeps each line until the broker has acknowledged it, publisher.py publishes the kept lines.
service.py runs them in one thread, in a single asyncio loop: if the loop runs, the whole process works.
"""

VERSION = "1.0.0"
