// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// As much of MQTT 3.1.1 as the client and the limits need, and the payload of an event.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CONNECT = 1, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 8, SUBACK };
enum { QOS1 = 2, TOPIC_SIZE = 12, LARGEST = 65536 };

static const char TOPIC[TOPIC_SIZE + 1] = "bench/fanout";

// At the beginning of each payload. Both ends are on one machine, and read one clock.
struct event {
    uint32_t run, number;
    uint64_t due;
};

struct packet {
    unsigned type;
    const unsigned char *body;
    size_t length;
};

static inline uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static inline unsigned char *put16(unsigned char *at, size_t value)
{
    *at++ = (unsigned char)(value >> 8);
    *at++ = (unsigned char)value;
    return at;
}

static inline unsigned char *put_text(unsigned char *at, const char *text, size_t size)
{
    return (unsigned char *)memcpy(put16(at, size), text, size) + size;
}

static inline unsigned char *put_head(unsigned char *at, unsigned type, unsigned flags, size_t length)
{
    *at++ = (unsigned char)(type << 4 | flags);
    for (; length > 127; length >>= 7)
        *at++ = (unsigned char)(length | 128);
    *at++ = (unsigned char)length;
    return at;
}

// Without a name it is the public's.
static inline unsigned char *put_connect(unsigned char *at, const char *id, const char *name, const char *password)
{
    size_t login = *name ? strlen(name) + strlen(password) + 4 : 0;
    at = put_head(at, CONNECT, 0, 12 + strlen(id) + login);
    at = put_text(at, "MQTT", 4);
    *at++ = 4;
    *at++ = *name ? 0xc2 : 2;
    at = put16(at, 600);
    at = put_text(at, id, strlen(id));
    return login ? put_text(put_text(at, name, strlen(name)), password, strlen(password)) : at;
}

static inline unsigned char *put_subscribe(unsigned char *at)
{
    at = put_text(put16(put_head(at, SUBSCRIBE, 2, 6), 1), "#", 1);
    *at++ = 0;
    return at;
}

// Find a packet; return its size, or 0 if there is not all of it.
static inline size_t next_packet(const unsigned char *data, size_t size, struct packet *packet)
{
    size_t at = 1, length = 0;
    for (unsigned shift = 0;; shift += 7, at++) {
        if (at >= size)
            return 0;
        length |= (size_t)(data[at] & 127) << shift;
        if (data[at] < 128 || shift == 21)
            break;
    }
    at++;
    if (size - at < length)
        return 0;
    *packet = (struct packet){data[0] >> 4, data + at, length};
    return at + length;
}

// To a socket that blocks
static inline bool write_all(int fd, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
        if (written <= 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}
