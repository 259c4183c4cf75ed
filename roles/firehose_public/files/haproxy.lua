-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- HAProxy's functions for filters: the time, a call at a later time, and the bytes that are not forwarded yet.

-- ---- time ----

local function seconds()
    local now = core.now()
    return now.sec + now.usec / 1000000
end

-- Milliseconds, for a client that no longer waits
local DAYS = 1 << 30

-- Makes HAProxy call a filter again after a pause in milliseconds, if its client has to wait. Once a client has waited, calls that let it pass or
-- end it also need this: HAProxy would otherwise loop without a pause after that time, until its watchdog kills it.
local function wake(client, pause)
    if pause or client.has_waited then
        filter.wake_time(pause or DAYS)
        client.has_waited = true
    end
end

-- ---- bytes ----

-- If HAProxy has forwarded some data and other data is left, channel:data() returns old bytes in place of the last ones
-- (_hlua_channel_dup in hlua.c of HAProxy 2.6 to 3.2). If bytes are read one by one, one is wrong, and another one if there is more data.
-- So each byte is read three times, with up to two more bytes after it, and the value of two reads is right. That takes a microsecond per byte.
-- A read of all bytes at once is right if it ends with a random mark that was inserted after them. HAProxy would then read beyond the end of its
-- memory only where data can continue at the beginning of the buffer.

-- tune.bufsize
local BUFFER = 32768

-- Lua 5.3 of Debian 12 does not seed the generator by itself.
math.randomseed((string.unpack("i4", io.open("/dev/urandom", "rb"):read(4))))

local function all_at_once(channel, place, size)
    -- A new mark each time: HAProxy's memory may still have earlier ones.
    local mark = string.pack("I4I4", math.random(0, 0x7fffffff), math.random(0, 0x7fffffff))
    if channel:insert(mark, size) < #mark then
        return nil
    end
    local found = channel:data(place, size + #mark - place)
    channel:remove(size, #mark)
    return found:sub(-#mark) == mark and found:sub(1, -#mark - 1) or nil
end

-- The bytes from the position place to the last one before behind, counted from 0. Nil if the buffer has no room. At most forwarded bytes were
-- forwarded before, if that is known.
local function bytes(channel, place, behind, forwarded)
    local size, found, reads = channel:input(), {}, {{}, {}, {}}
    if forwarded and behind == size and forwarded + channel:output() + size + 8 <= BUFFER then
        local all = all_at_once(channel, place, size)
        if all then
            return all
        end
    end
    for number, read in ipairs(reads) do
        if number > 1 and channel:insert("\0", size) < 1 then
            channel:remove(size, number - 2)
            return nil
        end
        for each = place, behind - 1 do
            read[#read + 1] = channel:data(each, 1)
        end
    end
    channel:remove(size, 2)
    for number, byte in ipairs(reads[1]) do
        found[number] = byte == reads[2][number] and byte or reads[3][number]
    end
    return table.concat(found)
end

return {bytes = bytes, seconds = seconds, wake = wake}
