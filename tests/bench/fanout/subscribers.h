// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// Many subscribers over TCP or websockets, and what each of them gets.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct place {
    const char *host;
    // Subscribers take the ports by turns.
    unsigned ports[64], port_count;
    bool websockets;
    // Each subscriber has an address of its own from here on.
    uint32_t first_source;
};

// Of the run that is under way
struct tally {
    unsigned run;
    uint64_t received, disordered, first, last;
    // Of each event at each subscriber, in microseconds
    uint32_t *latencies;
    uint64_t room;
};

extern struct tally tally;
// How many have been let in, and how many have been cut off or turned away since
extern unsigned subscribed, lost;

// Connect as many within so many seconds, some at a time.
void subscribers_connect(const struct place *place, unsigned count, unsigned seconds);
// Forget what came of the last run.
void subscribers_begin(unsigned run, unsigned events);
// Take what comes, and wait for it so long.
void subscribers_take(int milliseconds);
