# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A minimal publisher: publishes each line of standard input at QoS 1 on one topic, and stores nothing.

usage: ssh ... gerrit stream-events | python3 bare_publisher.py USER PASSWORD_FILE
"""

import pathlib
import sys

import paho.mqtt.client as mqtt

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.username_pw_set(sys.argv[1], pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
client.connect("localhost")
client.loop_start()
for line in sys.stdin.buffer:
    client.publish("gerrit/bare", line, qos=1)
