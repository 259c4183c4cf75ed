-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Follows the packets of one direction of a connection, in pieces of any size. Pure functions, for account-limits.lua.

local mqtt = require("mqtt")

-- Maximum bytes of a packet that is read as a whole
local LARGEST = 16384

-- The next byte, in a coroutine of follow()
local function byte()
    return coroutine.yield(0)
end

local function skip(count)
    if count > 0 then
        coroutine.yield(count)
    end
end

-- For websockets: reads the data after the HTTP header, without frame headers and control frames. on_frame is nil for frames of a broker.
local function payload(on_frame)
    local last = ""
    repeat
        last = (last .. string.char(byte())):sub(-4)
        -- Brokers also accept a line that ends without \r: they would read a part of this header as frames.
        if last:find("[^\r]\n$") then
            mqtt.ends("HTTP header")
        end
    until last == "\r\n\r\n"
    local left, key, place = 0, {0, 0, 0, 0}, 0
    local function next_frame()
        local first, second = byte(), byte()
        local kind = first & 0x0f
        left, place = second & 0x7f, 0
        if left > 125 then
            local digits = left == 126 and 2 or 8
            left = 0
            for _ = 1, digits do
                left = left << 8 | byte()
            end
        end
        for each = 1, 4 do
            key[each] = second & 0x80 ~= 0 and byte() or 0
        end
        -- Mosquitto 2.1 unmasks a frame without a key with the key of the one before, and reads the payload of a PONG as packets.
        local is_sound = first & 0x70 == 0 and second & 0x80 ~= 0 and (kind < 8 or left <= 125) and (kind ~= 10 or left == 0)
        if left < 0 or on_frame and not is_sound then
            mqtt.ends("malformed frame")
        end
        if on_frame then
            on_frame()
        end
        if kind >= 8 then
            skip(left)
            left = 0
        end
    end
    local function pass(count)
        while left == 0 do
            next_frame()
        end
        count = math.min(count, left)
        left, place = left - count, place + count
        return count
    end
    local function payload_byte()
        pass(1)
        return byte() ~ key[(place - 1) % 4 + 1]
    end
    local function payload_skip(count)
        while count > 0 do
            local passed = pass(count)
            skip(passed)
            count = count - passed
        end
    end
    return payload_byte, payload_skip
end

-- A coroutine. After it yields 0, it is resumed with the next byte. After it yields another number, that many bytes are skipped.
-- For each packet, on_packet gets the kind, the size of its body, a function that reads the body and one that skips a number of its bytes.
local function follow(framed, on_packet, on_frame)
    return coroutine.wrap(function()
        local next_byte, next_skip = byte, skip
        if framed then
            next_byte, next_skip = payload(on_frame)
        end
        local function read(size)
            if size > LARGEST then
                mqtt.ends("packet size")
            end
            local found = {}
            for place = 1, size do
                found[place] = string.char(next_byte())
            end
            return table.concat(found)
        end
        while true do
            local kind, size, shift, digit = next_byte() >> 4, 0, 0, nil
            repeat
                if shift > 21 then
                    mqtt.ends("malformed packet")
                end
                digit = next_byte()
                size, shift = size | (digit & 0x7f) << shift, shift + 7
            until digit < 0x80
            on_packet(kind, size, read, next_skip)
        end
    end)
end

return {follow = follow}
