# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have HAProxy send nobody new to a server that is about to stop, or again to one that has started.

Usage: python3 firehose-edge-server.py leave|join mosquitto|nats NUMBER
"""

import os
import socket
import sys
import time

MASTER = "/run/firehose-edge/master.sock"
BACKENDS = ["mqtt", "websockets"]
# A server that is about to stop says so before its port is closed. One that has started need not wait for HAProxy's next check.
ORDERS = {
    "leave": ["set server {}/{} state drain"],
    "join": ["set server {}/{} state ready", "set server {}/{} health up"],
}
# What those who came last have to be let in, in seconds. Websockets take Mosquitto 2.0 up to 200 milliseconds each. Where NATS is the only server
# there is, who comes meanwhile has to wait.
GRACE = {"mosquitto": 3, "nats": 1}


def main() -> None:
    """Tell HAProxy. Where it does not run, there is nobody to be told."""
    action, engine, number = sys.argv[1:]
    for order in (one.format(backend, f"{engine}-{number}") for one in ORDERS[action] for backend in BACKENDS):
        with socket.socket(socket.AF_UNIX) as master:
            master.settimeout(5)
            master.connect(MASTER)
            # The worker that listens. Those before it only serve who is connected to them.
            master.sendall(f"@1 {order}\n".encode())
            master.shutdown(socket.SHUT_WR)
            while master.recv(4096):
                pass
    # Else it has ended by itself, and nobody is left who could be let in.
    if action == "leave" and "MAINPID" in os.environ:
        time.sleep(GRACE[engine])


if __name__ == "__main__":
    main()
