# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have NATS forget MQTT sessions some time after their clients were last connected.

NATS has no setting for it. It keeps a record of each session in a stream, which it makes itself if it is not there, and takes as it
finds it. So the stream is made here first, or changed.

Usage: NATS_SESSIONS_PASSWORD=... python3 nats-sessions.py ADDRESS PORT SECONDS REPLICAS USER:BYTES...
"""

import json
import os
import socket
import ssl
import sys
import time

STREAM = "$MQTT_sess"
# Nobody gets there who subscribes to "#" by MQTT.
INBOX = "$JS.nats-sessions"
# However quickly new ones come, the oldest go.
MOST_SESSIONS = 100_000
NOT_FOUND = 10059
TIMEOUT = 10
TRIES = 30


class Nats:
    """A connection."""

    def __init__(self, address: str, port: int, user: str, password: str) -> None:
        self._socket = socket.create_connection((address, port), TIMEOUT)
        self._file = self._socket.makefile("rb")
        greeting = self._line()
        if json.loads(greeting.partition(" ")[2]).get("tls_required"):
            # What listens on this host's own port is not asked for its name.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._socket = context.wrap_socket(self._socket)
            self._file = self._socket.makefile("rb")
        options = {"user": user, "pass": password, "verbose": False, "pedantic": False, "name": user}
        self._send(f"CONNECT {json.dumps(options)}\r\nSUB {INBOX}.> 1\r\nPING\r\n")
        while self._line() != "PONG":
            pass

    def _send(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def _line(self) -> str:
        line = self._file.readline().decode().rstrip("\r\n")
        if not line or line.startswith("-ERR"):
            raise OSError(line or "NATS has hung up")
        if line == "PING":
            self._send("PONG\r\n")
        return line

    def request(self, action: str, config: "dict | None" = None) -> dict:
        """Ask the API something about the stream."""
        payload = json.dumps(config) if config else ""
        subject = f"$JS.API.STREAM.{action}.{STREAM}"
        self._send(f"PUB {subject} {INBOX}.{action} {len(payload.encode())}\r\n{payload}\r\n")
        while True:
            line = self._line()
            if line.startswith(f"MSG {INBOX}.{action} "):
                answer = json.loads(self._file.read(int(line.split()[-1])))
                self._file.readline()
                return answer


def result(answer: dict) -> dict:
    """What an answer of the API says."""
    if "error" in answer:
        raise OSError(f"NATS says: {answer['error'].get('description')}")
    return answer


def limit(nats: Nats, seconds: int, replicas: int, size: int) -> None:
    """Have the stream as it should be, with everything else as the server makes it."""
    limits = {"max_age": seconds * 1_000_000_000, "max_msgs": MOST_SESSIONS, "max_bytes": size, "discard": "old"}
    found = nats.request("INFO")
    if found.get("error", {}).get("err_code") == NOT_FOUND:
        config = {"name": STREAM, "subjects": ["$MQTT.sess.>"], "storage": "file", "retention": "limits"}
        result(nats.request("CREATE", {**config, "num_replicas": replicas, "max_msgs_per_subject": 1, **limits}))
        return
    config = result(found)["config"]
    # NATS takes no longer one than the age.
    limits["duplicate_window"] = min(config["duplicate_window"], limits["max_age"])
    if not limits.items() <= config.items():
        result(nats.request("UPDATE", {**config, **limits}))


def main() -> None:
    """Do it for each account, of which each user is one's. A server that has just started may not be ready yet."""
    address, port, seconds, replicas, *users = sys.argv[1:]
    for user, size in (one.split(":") for one in users):
        for left in reversed(range(TRIES)):
            try:
                nats = Nats(address, int(port), user, os.environ["NATS_SESSIONS_PASSWORD"])
                limit(nats, int(seconds), int(replicas), int(size))
                break
            except (OSError, ValueError) as exc:
                if not left:
                    sys.exit(f"{user}: {exc}")
                time.sleep(1)


if __name__ == "__main__":
    main()
