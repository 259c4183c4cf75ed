// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// As much of websockets as a client needs that speaks MQTT over them.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// What a frame of ours has in front, which has less than 126 bytes
enum { FRAME_HEAD = 6 };

static const char UPGRADE[] = "GET /mqtt HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

// Where a connection is in what the server sends
struct frames {
    unsigned char head[10];
    unsigned head_size;
    uint64_t left;
    bool control;
};

// Put a head in front of what is sent; return where that begins. It is masked, as it has to be, with zeros.
static inline unsigned char *frame(unsigned char *data, size_t size)
{
    unsigned char head[FRAME_HEAD] = {0x82, (unsigned char)(0x80 | size)};
    return memcpy(data - FRAME_HEAD, head, FRAME_HEAD);
}

// Take the frames away from around what they have; return how much that is. A control frame has nothing for us.
static inline size_t unframe(struct frames *frames, unsigned char *data, size_t size)
{
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        if (frames->left > 0) {
            size_t part = frames->left < size - at ? frames->left : size - at;
            if (!frames->control) {
                memmove(data + kept, data + at, part);
                kept += part;
            }
            at += part;
            frames->left -= part;
            continue;
        }
        frames->head[frames->head_size++] = data[at++];
        unsigned kind = frames->head[1] & 127, length = kind < 126 ? 2 : kind == 126 ? 4 : 10;
        if (frames->head_size < 2 || frames->head_size < length)
            continue;
        frames->left = kind < 126 ? kind : 0;
        for (unsigned each = 2; each < length; each++)
            frames->left = frames->left << 8 | frames->head[each];
        frames->control = frames->head[0] & 8;
        frames->head_size = 0;
    }
    return kept;
}
