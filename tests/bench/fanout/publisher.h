// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// Publish events at QoS 1 over one connection, in a thread: all at once, or so many a second.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct publisher {
    int fd;
    // What to publish: an event has `size` bytes, and a rate of 0 is as fast as possible.
    unsigned run, events, size;
    double rate;
    // What came of it
    uint64_t start, end;
    unsigned acknowledged;
    _Atomic bool done;
    pthread_t thread;
};

void publisher_connect(struct publisher *publisher, const char *host, const char *port, const char *name, const char *password);
void publisher_start(struct publisher *publisher);
