# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have HAProxy send nobody new to a broker that is about to stop, or again to one that has started.

Usage: python3 firehose-edge-broker.py leave|join NUMBER
"""

import socket
import sys
import time

MASTER = "/run/firehose-edge/master.sock"
# A broker that is about to stop says so before its port is closed. One that has started need not wait for HAProxy's next check.
ORDERS = {
    "leave": ["set server mqtt/{} state drain", "set server websockets/{} state drain"],
    "join": ["set server mqtt/{} state ready", "set server websockets/{} state ready", "set server mqtt/{} health up"],
}
# What those who came last have to be let in, in seconds. Websockets take Mosquitto 2.0 up to 200 milliseconds each.
GRACE = 3


def main() -> None:
    """Tell HAProxy. Where it does not run, there is nobody to be told."""
    action, number = sys.argv[1:]
    for order in ORDERS[action]:
        with socket.socket(socket.AF_UNIX) as master:
            master.settimeout(5)
            master.connect(MASTER)
            # The worker that listens. Those before it only serve who is connected to them.
            master.sendall(f"@1 {order.format(f'mosquitto-{number}')}\n".encode())
            master.shutdown(socket.SHUT_WR)
            while master.recv(4096):
                pass
    if action == "leave":
        time.sleep(GRACE)


if __name__ == "__main__":
    main()
