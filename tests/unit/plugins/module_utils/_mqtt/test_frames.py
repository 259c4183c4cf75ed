# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Websocket frames, compared with the bytes and the key in RFC 6455."""

from __future__ import annotations

import pytest
from ansible_collections.opendev.firehose.plugins.module_utils._mqtt import frames

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADS = {
    0: b"\x82\0",
    125: b"\x82\x7d",
    126: b"\x82\x7e\0\x7e",
    65535: b"\x82\x7e\xff\xff",
    65536: b"\x82\x7f\0\0\0\0\0\1\0\0",
}


@pytest.mark.parametrize(("length", "head"), HEADS.items())
def test_frames(length, head):
    content = b"x" * length
    assert frames.frame(content, masked=False) == head + content
    masked = head[:1] + bytes([head[1] | 0x80]) + head[2:]
    assert frames.frame(content) == masked + bytes(4) + content
    assert frames.frame(b"", frames.PONG) == b"\x8a\x80" + bytes(4)
    assert frames.frame(content, final=False, masked=False)[0] == 0x02


@pytest.mark.parametrize("masked", [True, False])
def test_only_complete_frames_are_removed(masked):
    sent = [frames.Frame(kind, b"x" * length) for kind, length in ((2, 0), (9, 5), (0, 126), (2, 70000), (8, 2))]
    data = bytearray()
    found = []
    for byte in b"".join(frames.frame(one.content, one.kind, masked=masked) for one in sent):
        data.append(byte)
        if len(data) < 200 or len(data) % 1000 == 0 or len(data) > 69900:
            found += frames.split(data)
    assert found == sent
    assert not data


def test_the_websocket_key():
    assert frames.accept(KEY) == ACCEPT
    assert f"Sec-WebSocket-Key: {KEY}\r\n".encode() in frames.upgrade("broker", "/mqtt", KEY)


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n", None),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "another key"),
        (f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT.swapcase()}\r\n\r\n", "another key"),
        (f"HTTP/1.1 200 OK\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n", "answered 'HTTP/1.1 200 OK' to"),
        ("\x20\x02\n\n", "answered ' \\x02\\n\\n' to"),
    ],
)
def test_answers_to_an_upgrade(head, problem):
    found = frames.upgrade_problem(head.encode(), KEY)
    assert found is None if problem is None else problem in found
