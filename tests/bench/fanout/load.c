// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// Connect subscribers and a publisher, and then do what standard input says, a line of JSON for each:
// usage: load HOST PORT[,PORT...] tcp|websockets SUBSCRIBERS SECONDS SOURCE PUBLISHER_HOST PORT NAME PASSWORD
// in:    EVENTS RATE SIZE     (a rate of 0 is as fast as possible)
#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "mqtt.h"
#include "publisher.h"
#include "subscribers.h"

// How long nothing has to come before it counts as lost, and how long a run may take: in nanoseconds.
#define QUIET ((uint64_t)3000000000)
#define LONGEST ((uint64_t)150000000000)

static int by_size(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double milliseconds(double part)
{
    uint64_t count = tally.received < tally.room ? tally.received : tally.room;
    return count ? tally.latencies[(uint64_t)((double)(count - 1) * part)] / 1e3 : 0;
}

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double since(uint64_t start, uint64_t moment)
{
    return moment > start ? (double)(moment - start) / 1e9 : 0;
}

static void run(struct publisher *publisher)
{
    double cpu = own_cpu();
    uint64_t expected = (uint64_t)publisher->events * subscribed, begin = now(), quiet_since = begin;
    unsigned lost_before = lost;
    publisher->run++;
    subscribers_begin(publisher->run, publisher->events);
    publisher_start(publisher);
    while (now() - begin < LONGEST && !(publisher->done && (tally.received >= expected || now() - quiet_since > QUIET))) {
        uint64_t before = tally.received;
        subscribers_take(10);
        if (tally.received != before || !publisher->done)
            quiet_since = now();
    }
    pthread_join(publisher->thread, NULL);
    cpu = own_cpu() - cpu;
    qsort(tally.latencies, tally.received < tally.room ? tally.received : tally.room, sizeof(uint32_t), by_size);
    printf("{\"expected\": %" PRIu64 ", \"received\": %" PRIu64 ", \"disordered\": %" PRIu64 ", \"cut\": %u, \"acknowledged\": %u, ",
           expected, tally.received, tally.disordered, lost - lost_before, publisher->acknowledged);
    printf("\"published\": %.6f, \"first\": %.6f, \"last\": %.6f, ", since(publisher->start, publisher->end),
           since(publisher->start, tally.first), since(publisher->start, tally.last));
    printf("\"p50\": %.3f, \"p99\": %.3f, \"client_cpu\": %.3f}\n", milliseconds(0.5), milliseconds(0.99), cpu);
}

int main(int count, char **arguments)
{
    if (count != 11)
        errx(1, "wrong usage");
    struct publisher publisher = {.run = (unsigned)(now() / 1000000)};
    struct place place = {.host = arguments[1]};
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (char *port = strtok(arguments[2], ","); port && place.port_count < 64; port = strtok(NULL, ","))
        place.ports[place.port_count++] = (unsigned)atoi(port);
    place.websockets = strcmp(arguments[3], "websockets") == 0;
    place.first_source = ntohl(inet_addr(arguments[6]));
    uint64_t start = now();
    subscribers_connect(&place, (unsigned)atoi(arguments[4]), (unsigned)atoi(arguments[5]));
    printf("{\"subscribed\": %u, \"lost\": %u, \"seconds\": %.6f}\n", subscribed, lost, since(start, now()));
    publisher_connect(&publisher, arguments[7], arguments[8], arguments[9], arguments[10]);
    while (scanf("%u %lf %u", &publisher.events, &publisher.rate, &publisher.size) == 3)
        run(&publisher);
    return 0;
}
