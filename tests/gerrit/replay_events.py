# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the stand-in active: append the events of FILE one by one, repeatedly, with the current time.

usage: python3 replay_events.py FILE SECONDS
"""

import itertools
import json
import sys
import time
from pathlib import Path

source, pause = Path(sys.argv[1]), float(sys.argv[2])
lines = source.read_text(encoding="utf-8").splitlines()

with Path("/srv/gerrit/events.jsonl").open("a", encoding="utf-8") as stream:
    for line in itertools.cycle(lines):
        event = json.loads(line)
        if "eventCreatedOn" in event:
            event["eventCreatedOn"] = int(time.time())
        print(json.dumps(event, separators=(",", ":")), file=stream, flush=True)
        time.sleep(pause)
