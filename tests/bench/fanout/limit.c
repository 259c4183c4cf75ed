// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// The least that a server can do: hand each event on to all who have subscribed, and nothing else.
// usage: limit PORT JOIN     (so many events are joined to one write for each subscriber, as far as that many have come)
#include <arpa/inet.h>
#include <err.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt.h"

enum { CHUNK = 1 << 18, MOST_SUBSCRIBERS = 65536, MOST_JOINED = 64 };

struct client {
    int fd;
    size_t size;
    unsigned char data[LARGEST + CHUNK];
};

static int subscribers[MOST_SUBSCRIBERS];
static unsigned subscriber_count, join, joined;
static unsigned char out[MOST_JOINED * LARGEST], *out_end = out;

// Whoever does not read makes the publisher wait, and nothing is lost.
static void hand_on(void)
{
    for (unsigned each = 0; each < subscriber_count; each++)
        if (!write_all(subscribers[each], out, (size_t)(out_end - out)))
            subscribers[each--] = subscribers[--subscriber_count];
    out_end = out;
    joined = 0;
}

// The same at QoS 0
static void add(const struct packet *packet)
{
    size_t topic = 2 + ((size_t)packet->body[0] << 8 | packet->body[1]);
    out_end = put_head(out_end, PUBLISH, 0, packet->length - 2);
    out_end = (unsigned char *)memcpy(out_end, packet->body, topic) + topic;
    size_t payload = packet->length - topic - 2;
    out_end = (unsigned char *)memcpy(out_end, packet->body + topic + 2, payload) + payload;
    if (++joined == join)
        hand_on();
}

static void answer(struct client *client, const struct packet *packet)
{
    unsigned char data[] = {CONNACK << 4, 2, 0, 0, 0};
    size_t size = 4;
    if (packet->type == PUBLISH) {
        size_t topic = 2 + ((size_t)packet->body[0] << 8 | packet->body[1]);
        data[0] = PUBACK << 4;
        memcpy(data + 2, packet->body + topic, 2);
        add(packet);
    } else if (packet->type == SUBSCRIBE && subscriber_count < MOST_SUBSCRIBERS) {
        data[0] = SUBACK << 4;
        data[1] = 3;
        memcpy(data + 2, packet->body, 2);
        size = 5;
        subscribers[subscriber_count++] = client->fd;
    }
    write_all(client->fd, data, size);
}

static bool readable(struct client *client)
{
    ssize_t got = recv(client->fd, client->data + client->size, CHUNK, 0);
    if (got <= 0)
        return false;
    client->size += (size_t)got;
    size_t at = 0;
    struct packet packet;
    for (size_t used; (used = next_packet(client->data + at, client->size - at, &packet)) > 0; at += used)
        answer(client, &packet);
    if (joined > 0)
        hand_on();
    memmove(client->data, client->data + at, client->size -= at);
    return true;
}

static void leave(struct client *client)
{
    for (unsigned each = 0; each < subscriber_count; each++)
        if (subscribers[each] == client->fd)
            subscribers[each] = subscribers[--subscriber_count];
    close(client->fd);
    free(client);
}

int main(int count, char **arguments)
{
    if (count != 3)
        errx(1, "wrong usage");
    join = (unsigned)atoi(arguments[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    int epoll = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (join > MOST_JOINED || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0)
        err(1, "nothing to listen on");
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
    for (struct epoll_event event;;) {
        // It is interrupted when its container is paused.
        if (epoll_wait(epoll, &event, 1, -1) < 1)
            continue;
        struct client *client = event.data.ptr;
        if (!client) {
            client = malloc(sizeof *client);
            client->size = 0;
            client->fd = accept(listener, NULL, NULL);
            epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = client});
        } else if (!readable(client)) {
            leave(client);
        }
    }
}
