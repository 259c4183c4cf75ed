# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain a broker at HAProxy before the broker stops, and enable it again when it has started.

Usage: python3 firehose-haproxy-server.py leave|join NUMBER
"""

import os
import socket
import sys
import time

MASTER = "/run/firehose-haproxy/master.sock"
BACKENDS = ["mqtt", "websockets"]
# A broker that has started need not wait for HAProxy's next health check.
ORDERS = {
    "leave": ["set server {}/{} state drain"],
    "join": ["set server {}/{} state ready", "set server {}/{} health up"],
}
# Seconds for the last new clients to be accepted. Mosquitto 2.0 takes up to 200 milliseconds for each websocket.
GRACE = 3


def main() -> None:
    """Send the commands to HAProxy."""
    action, number = sys.argv[1:]
    if not number.isdigit():
        # The instance belongs to the site, not to this collection.
        return
    for order in (one.format(backend, f"mosquitto-{number}") for one in ORDERS[action] for backend in BACKENDS):
        with socket.socket(socket.AF_UNIX) as master:
            master.settimeout(5)
            try:
                master.connect(MASTER)
            except (FileNotFoundError, ConnectionRefusedError):
                # HAProxy does not run. When it starts, its health checks find the brokers.
                return
            # @1 is the newest worker: older ones only serve the clients that are connected to them.
            master.sendall(f"@1 {order}\n".encode())
            master.shutdown(socket.SHUT_WR)
            while master.recv(4096):
                pass
    # Without MAINPID the broker has already ended.
    if action == "leave" and "MAINPID" in os.environ:
        time.sleep(GRACE)


if __name__ == "__main__":
    main()
