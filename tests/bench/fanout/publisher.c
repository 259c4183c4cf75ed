// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// Publish events, many with one write where they are due. Whoever takes them may make it wait.
#include "publisher.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt.h"

enum { BATCH = 1 << 18, GIVE_UP_AFTER = 30 };

// In a burst an event is due when it is written, else in its turn, so that one that has to wait is late.
static unsigned char *put_event(unsigned char *at, const struct publisher *publisher, unsigned number)
{
    uint64_t due = publisher->rate > 0 ? publisher->start + (uint64_t)(number / publisher->rate * 1e9) : now();
    struct event event = {publisher->run, number, due};
    at = put_head(at, PUBLISH, QOS1, 2 + TOPIC_SIZE + 2 + publisher->size);
    at = put16(put_text(at, TOPIC, TOPIC_SIZE), number % 65535 + 1);
    memcpy(at, &event, sizeof event);
    memset(at + sizeof event, 'x', publisher->size - sizeof event);
    return at + publisher->size;
}

static unsigned due(const struct publisher *publisher)
{
    if (publisher->rate <= 0)
        return publisher->events;
    double many = (double)(now() - publisher->start) / 1e9 * publisher->rate + 1;
    return many < publisher->events ? (unsigned)many : publisher->events;
}

// Nothing comes but PUBACKs, which have four bytes each.
static bool take_acknowledgements(int fd, size_t *bytes, int flags)
{
    unsigned char data[65536];
    ssize_t got = recv(fd, data, sizeof data, flags);
    *bytes += got > 0 ? (size_t)got : 0;
    return got > 0;
}

static void *publish(void *argument)
{
    struct publisher *publisher = argument;
    static unsigned char data[BATCH + LARGEST];
    size_t acknowledgements = 0, expected = 4 * (size_t)publisher->events;
    bool connected = true;
    publisher->start = now();
    for (unsigned number = 0; connected && number < publisher->events;) {
        unsigned until = due(publisher);
        unsigned char *at = data;
        for (; number < until && at < data + BATCH; number++)
            at = put_event(at, publisher, number);
        connected = write_all(publisher->fd, data, (size_t)(at - data));
        take_acknowledgements(publisher->fd, &acknowledgements, MSG_DONTWAIT);
        if (number < publisher->events && number >= until) {
            uint64_t next = publisher->start + (uint64_t)(number / publisher->rate * 1e9);
            struct timespec time = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
        }
    }
    publisher->end = now();
    while (acknowledgements < expected && take_acknowledgements(publisher->fd, &acknowledgements, 0))
        ;
    publisher->acknowledged = (unsigned)(acknowledgements / 4);
    publisher->done = true;
    return NULL;
}

void publisher_connect(struct publisher *publisher, const char *host, const char *port, const char *name, const char *password)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct timeval patience = {GIVE_UP_AFTER, 0};
    unsigned char data[1024], answer[4];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        errx(1, "%s is no address", host);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "the publisher does not get to %s:%s", host, port);
    size_t size = (size_t)(put_connect(data, "bench-publisher", name, password) - data);
    if (!write_all(fd, data, size) || recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer || answer[3] != 0)
        errx(1, "the publisher is not let in at %s:%s", host, port);
    publisher->fd = fd;
}

void publisher_start(struct publisher *publisher)
{
    publisher->done = false;
    if (pthread_create(&publisher->thread, NULL, publish, publisher) != 0)
        errx(1, "no thread for the publisher");
}
