-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Reads bytes that a filter has not forwarded yet.
-- Where HAProxy has forwarded something and something is left, channel:data() gives old bytes in place of the last ones
-- (_hlua_channel_dup in hlua.c of HAProxy 2.6 to 3.2). Of bytes that are read one by one, one is wrong, and another one if there is more data.
-- So each byte is read three times, with up to two bytes more behind it, and what two of them say is right.

-- The bytes from a place to one before another. The places count from 0. Nothing if the buffer has no room.
local function bytes(channel, place, behind)
    local size, found, reads = channel:input(), {}, {{}, {}, {}}
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

return {bytes = bytes}
