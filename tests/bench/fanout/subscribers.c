// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// Connect, get through the handshakes, and count what comes.
#define _GNU_SOURCE
#include "subscribers.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "mqtt.h"

enum { AT_A_TIME = 32, CHUNK = 1 << 18 };
enum stage { CONNECTING, UPGRADING, SUBSCRIBING, SUBSCRIBED, GONE };

struct subscriber {
    int fd;
    enum stage stage;
    unsigned number, next;
    struct frames frames;
    // The beginning of a packet that has not come as a whole
    unsigned char *rest;
    size_t rest_size;
};

struct tally tally;
unsigned subscribed, lost;
static struct subscriber *subscribers;
static unsigned begun, waiting;
static bool websockets;
static int epoll;

static void drop(struct subscriber *subscriber)
{
    waiting -= subscriber->stage < SUBSCRIBED;
    lost++;
    subscriber->stage = GONE;
    close(subscriber->fd);
}

static void begin(struct subscriber *subscriber, const struct place *place)
{
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(place->first_source + begun)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)place->ports[begun % place->port_count])};
    *subscriber = (struct subscriber){.number = begun++};
    subscriber->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (subscriber->fd < 0 || inet_pton(AF_INET, place->host, &to.sin_addr) != 1)
        err(1, "no socket to %s", place->host);
    setsockopt(subscriber->fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int));
    if (bind(subscriber->fd, (struct sockaddr *)&source, sizeof source) < 0)
        err(1, "no address for a subscriber");
    waiting++;
    if (connect(subscriber->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        drop(subscriber);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = subscriber};
    epoll_ctl(epoll, EPOLL_CTL_ADD, subscriber->fd, &event);
}

static void say(struct subscriber *subscriber, const void *data, size_t size, enum stage stage)
{
    if (send(subscriber->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        drop(subscriber);
    else
        subscriber->stage = stage;
}

static void subscribe(struct subscriber *subscriber)
{
    unsigned char data[256], *packets = data + FRAME_HEAD;
    char id[32];
    snprintf(id, sizeof id, "bench-%d-%u", getpid(), subscriber->number);
    unsigned char *end = put_subscribe(put_connect(packets, id, "", ""));
    unsigned char *start = websockets ? frame(packets, (size_t)(end - packets)) : packets;
    say(subscriber, start, (size_t)(end - start), SUBSCRIBING);
}

static void connected(struct subscriber *subscriber)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = subscriber};
    epoll_ctl(epoll, EPOLL_CTL_MOD, subscriber->fd, &event);
    if (websockets)
        say(subscriber, UPGRADE, sizeof UPGRADE - 1, UPGRADING);
    else
        subscribe(subscriber);
}

static void count(struct subscriber *subscriber, const struct packet *packet, uint64_t moment)
{
    struct event event;
    size_t before = 2 + ((size_t)packet->body[0] << 8 | packet->body[1]);
    if (packet->length < before + sizeof event)
        return;
    memcpy(&event, packet->body + before, sizeof event);
    if (event.run != tally.run)
        return;
    // One that comes again, or behind a later one
    if (event.number < subscriber->next) {
        tally.disordered++;
        return;
    }
    subscriber->next = event.number + 1;
    tally.first = tally.first ? tally.first : moment;
    tally.last = moment;
    if (tally.received < tally.room)
        tally.latencies[tally.received] = (uint32_t)((moment - event.due) / 1000);
    tally.received++;
}

static void take_packets(struct subscriber *subscriber, unsigned char *data, size_t size)
{
    uint64_t moment = now();
    struct packet packet;
    size_t at = 0;
    for (size_t used; (used = next_packet(data + at, size - at, &packet)) > 0; at += used) {
        if (packet.type == PUBLISH) {
            count(subscriber, &packet, moment);
        } else if (packet.type == SUBACK && subscriber->stage == SUBSCRIBING && packet.body[2] == 0) {
            subscriber->stage = SUBSCRIBED;
            subscribed++;
            waiting--;
        }
    }
    subscriber->rest_size = size - at;
    if (subscriber->rest_size > 0) {
        subscriber->rest = realloc(subscriber->rest, subscriber->rest_size);
        memcpy(subscriber->rest, data + at, subscriber->rest_size);
    }
}

static void readable(struct subscriber *subscriber)
{
    static unsigned char data[LARGEST + 2 * CHUNK];
    unsigned char *fresh = data + subscriber->rest_size;
    ssize_t got = recv(subscriber->fd, fresh, CHUNK, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(subscriber);
        return;
    }
    // A server says nothing behind its answer before it is asked.
    if (subscriber->stage == UPGRADING) {
        if (memmem(fresh, (size_t)got, "\r\n\r\n", 4))
            subscribe(subscriber);
        return;
    }
    size_t size = websockets ? unframe(&subscriber->frames, fresh, (size_t)got) : (size_t)got;
    if (subscriber->rest_size > 0)
        memcpy(data, subscriber->rest, subscriber->rest_size);
    take_packets(subscriber, data, subscriber->rest_size + size);
}

void subscribers_take(int milliseconds)
{
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, milliseconds);
    for (int each = 0; each < ready; each++) {
        struct subscriber *subscriber = events[each].data.ptr;
        if (events[each].events & EPOLLOUT)
            connected(subscriber);
        else
            readable(subscriber);
    }
}

void subscribers_connect(const struct place *place, unsigned count, unsigned seconds)
{
    uint64_t deadline = now() + seconds * (uint64_t)1000000000;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    websockets = place->websockets;
    subscribers = calloc(count, sizeof *subscribers);
    while (subscribed + lost < count && now() < deadline) {
        while (waiting < AT_A_TIME && begun < count)
            begin(&subscribers[begun], place);
        subscribers_take(100);
    }
}

void subscribers_begin(unsigned run, unsigned events)
{
    free(tally.latencies);
    uint64_t room = (uint64_t)events * subscribed;
    tally = (struct tally){.run = run, .room = room, .latencies = malloc((room + 1) * sizeof(uint32_t))};
    for (unsigned each = 0; each < begun; each++)
        subscribers[each].next = 0;
}
