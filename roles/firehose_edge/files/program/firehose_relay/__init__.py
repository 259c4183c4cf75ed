# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""firehose-relay: hand what a core's broker has on to the NATS of an edge, and acknowledge to the core what NATS has taken.

The core keeps a session for the relay, and in it whatever is not acknowledged: it is the only store. core.py takes from it, in the packets of
mqtt5.py, nats.py hands on, relay.py does the one with the other, in turns, cli.py reads the configuration and runs it.
"""
