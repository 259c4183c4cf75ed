# SPDX-FileCopyrightText: the opendev.firehose authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A grammar of MQTT packets that makes valid, unusual and broken packets. The same seed makes the same packets."""

from __future__ import annotations

import random
import typing as t

from . import frames, packets
from .packets import V3, V5

# A packet before it is encoded: the first byte, and the parts of its body.
Pieces = list[bytes]

TOPICS = ("gerrit/hostile", "hostile/topic", "$SYS/hostile", "a", "/", "a//b", "é/日本", "x" * 2000)
FILTERS = ("#", "+/#", "hostile/+", "$SYS/#", "$share/g/#", "$share/g/+/x", "/", "+", "a/" * 100, "$CONTROL/#")
BAD_FILTERS = (
    "",
    "a#",
    "#/a",
    "a+/b",
    "$share",
    "$share/",
    "$share//#",
    "$share/g",
    "$share/+/a",
    "$share/g#/a",
    "a\0b",
)
BAD_STRINGS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x80",
    b"\xef\xbf\xbf",
    b"\x01\x7f",
    b"/" * 65535,
)
EDGES = (0, 1, 127, 128, 255, 256, 32767, 32768, 65534, 65535)
# The properties of MQTT 5, by the types of their values.
PROPERTIES = {
    "byte": (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A),
    "two": (0x13, 0x21, 0x22, 0x23),
    "four": (0x02, 0x11, 0x18, 0x27),
    "length": (0x0B,),
    "string": (0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F, 0x09, 0x16),
    "pair": (0x26,),
}


class Grammar:
    """Makes the data that a connection sends."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _two(self) -> bytes:
        return self._random.choice(EDGES).to_bytes(2, "big")

    def _string(self) -> bytes:
        return packets.string(self._random.choice((*TOPICS, *map(str, EDGES))))

    def _bad_string(self) -> bytes:
        text = self._random.choice(BAD_STRINGS)[:65535]
        claimed = len(text) if self._chance(0.6) else self._random.choice(EDGES)
        return claimed.to_bytes(2, "big") + text

    def _property(self) -> bytes:
        kind = self._random.choice(list(PROPERTIES))
        name = bytes([self._random.choice(PROPERTIES[kind])])
        if kind == "byte":
            return name + bytes([self._random.choice((0, 1, 2, 255))])
        if kind == "two":
            return name + self._two()
        if kind == "four":
            return name + self._random.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, "big")
        if kind == "length":
            return name + packets.length(self._random.choice((0, 1, 127, 128, 268_435_455)))
        return name + self._string() + (self._string() if kind == "pair" else b"")

    def _properties(self, version: int, sound: bytes = b"") -> bytes:
        """Properties that are valid here, or, rarely, any."""
        if version == V3:
            return b""
        if self._chance(0.85):
            pairs = b"".join(
                b"\x26" + self._string() + self._string() for _pair in range(self._random.choice((0, 0, 1, 30)))
            )
            return packets.properties(version, sound + pairs)
        data = b"".join(self._property() for _each in range(self._random.choice((1, 2, 5))))
        claimed = len(data) if self._chance(0.7) else self._random.choice((0, 1, 127, 16384, 268_435_455))
        return packets.length(claimed) + data

    def _connect(self, version: int) -> tuple[int, Pieces]:
        flags = self._random.choice((0x02, 0x02, 0x02, 0x00, 0x06, 0x26, 0x0E, 0x16, 0x82, 0xC2, 0xC6))
        pieces = [packets.string("MQTT"), bytes([version]), bytes([flags]), self._two(), self._properties(version)]
        pieces.append(packets.string(f"fuzz-{self._random.getrandbits(32):x}"))
        if flags & 0x04:
            pieces += [self._properties(version), self._string(), packets.string("hostile will")]
        if flags & 0x80:
            pieces.append(packets.string(self._random.choice(("germqtt", "nobody", ""))))
        if flags & 0x40:
            pieces.append(self._string())
        return 0x10, pieces

    def _publish(self, version: int) -> tuple[int, Pieces]:
        qos = self._random.choice((0, 0, 1, 2))
        first = 0x30 | qos << 1 | self._random.choice((0, 0, 1, 8))
        topic = packets.string(self._random.choice(TOPICS))
        alias = b"\x23" + self._two() if self._chance(0.2) else b""
        payload = b"hostile fuzz" + bytes(self._random.choice((0, 1, 100, 20000)))
        return first, [topic, *([self._two()] if qos else []), self._properties(version, alias), payload]

    def _subscribe(self, version: int) -> tuple[int, Pieces]:
        pieces = [self._two(), self._properties(version)]
        for _each in range(self._random.choice((1, 2, 50))):
            pieces += [packets.string(self._random.choice(FILTERS)), bytes([self._random.choice((0, 1, 2))])]
        return 0x82, pieces

    def _unsubscribe(self, version: int) -> tuple[int, Pieces]:
        return 0xA2, [self._two(), self._properties(version), packets.string(self._random.choice(FILTERS))]

    def _acknowledgement(self, version: int) -> tuple[int, Pieces]:
        pieces = [self._two()]
        if version == V5 and self._chance(0.3):
            pieces += [bytes([self._random.choice((0, 0x10, 0x80, 0xFF))]), self._properties(version)]
        return self._random.choice((0x40, 0x50, 0x62, 0x70)), pieces

    def _ping(self, _version: int) -> tuple[int, Pieces]:
        return 0xC0, []

    def _of_the_server(self, version: int) -> tuple[int, Pieces]:
        """Packets that only a broker sends, and AUTH."""
        first = self._random.choice((0x20, 0x90, 0xB0, 0xD0, 0xF0, 0x00))
        return first, [self._two(), self._properties(version), bytes([self._random.choice((0, 1, 0x87))])]

    def _breaks_piece(self, pieces: Pieces) -> None:
        place = self._random.randrange(len(pieces))
        piece = pieces[place]
        change = self._random.randrange(7)
        if change == 0:
            pieces[place] = self._bad_string()
        elif change == 1:
            pieces.insert(place, piece)
        elif change == 2:
            del pieces[place]
        elif change == 3:
            pieces[place] = packets.string(self._random.choice(BAD_FILTERS))
        elif change == 4:
            self._random.shuffle(pieces)
        elif change == 5:
            pieces[place] = piece[: self._random.randrange(len(piece) + 1)]
        else:
            pieces.append(self._random.randbytes(self._random.choice((1, 2, 100))))

    def _flips(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _each in range(self._random.choice((1, 1, 2, 10))):
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _wrong_length(self, size: int) -> bytes:
        wrong = (packets.length(max(size - 1, 0)), packets.length(size + 1), packets.length(268_435_455))
        endless = (b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x00", bytes([size & 127 | 128, 0]))
        return self._random.choice((*wrong, *endless))

    def _put_together(self, first: int, pieces: Pieces) -> bytes:
        return packets.packet(first, b"".join(pieces))

    def sound(self, version: int) -> bytes:
        """A packet that follows the grammar, with extreme values."""
        makers = (self._publish, self._subscribe, self._unsubscribe, self._acknowledgement, self._ping)
        return self._put_together(*self._random.choice(makers)(version))

    def broken(self, version: int, maker: t.Callable[[int], tuple[int, Pieces]] | None = None) -> bytes:
        """A packet with one or several errors."""
        makers = (
            self._publish,
            self._subscribe,
            self._unsubscribe,
            self._acknowledgement,
            self._of_the_server,
            self._connect,
        )
        first, pieces = (maker or self._random.choice(makers))(version)
        change = self._random.randrange(5)
        if change == 0:
            return bytes([first ^ self._random.randrange(1, 16)]) + self._put_together(first, pieces)[1:]
        if change == 1:
            body = b"".join(pieces)
            return bytes([first]) + self._wrong_length(len(body)) + body
        if change == 2:
            return self._flips(self._put_together(first, pieces))
        for _each in range(self._random.choice((1, 1, 3))):
            if pieces:
                self._breaks_piece(pieces)
        return self._put_together(first, pieces)

    def connection(self) -> list[bytes]:
        """The data of one connection. A broker reads nothing after an error, so the broken packet is the last."""
        version = self._random.choice((V3, V5))
        if self._chance(0.2):
            return [self.broken(version, self._connect)]
        if self._chance(0.1):
            return [self.broken(version)]
        hello = packets.connect(version, keepalive=self._random.choice((0, 1, 60, 600)))
        middle = [self.sound(version) for _each in range(self._random.choice((0, 1, 3, 8)))]
        return [hello, *middle, self.broken(version)]

    def framed(self, data: t.Sequence[bytes]) -> bytes:
        """The same in websocket frames: one frame each, or split anywhere, or with errors."""
        style = self._random.randrange(6)
        if style < 2:
            return b"".join(frames.frame(packet) for packet in data)
        whole = b"".join(data)
        if style == 2:
            cuts = sorted(self._random.sample(range(len(whole) + 1), min(len(whole), 3)))
            parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])]
            return b"".join(frames.frame(part) for part in parts)
        if style == 3:
            ping = frames.frame(self._random.randbytes(self._random.choice((0, 125, 126))), frames.PING)
            return frames.frame(whole, first=0) + ping + frames.frame(b"", opcode=0)
        if style == 4:
            return frames.frame(
                whole,
                opcode=self._random.randrange(16),
                first=self._random.choice((0x80, 0, 0xC0, 0xF0)),
                masked=self._chance(0.7),
                claim=self._random.choice((None, 0, 1, 65536, 2**63)),
            )
        return self._flips(b"".join(frames.frame(packet) for packet in data))
