-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- NATS 2.10 ends when a websocket's frame claims 2^63 bytes or more, or to be compressed where nobody has agreed on that
-- (GHSA-pq2q-rcw4-3hr6). So nothing more of a client that sends such a frame, or a longer one than there may be, reaches NATS, which
-- lets it go like one that has gone without a word.
-- Usage in haproxy.cfg, where mode is tcp and HTTP has been looked at already: filter lua.websocket-frames MOST

local Frames = {id = "websocket-frames"}
Frames.__index = Frames

function Frames:new()
    -- Whether HTTP is over, what has come of it or of a frame's head, how much of the frame behind that is still to come, and
    -- whether one was wrong.
    return setmetatable({most = self.most, over = false, head = "", left = 0, wrong = false}, Frames)
end

function Frames:start_analyze(_, channel)
    if not channel:is_resp() then
        filter.register_data_filter(self, channel)
    end
end

-- What is behind the head that begins in the data at a place: where, how much, and whether it may be. Nothing if more has to come first.
local function read_head(data, place)
    local first, second = data:byte(place, place + 1)
    if not second then
        return nil
    end
    local size, behind = second & 0x7f, place + 2
    local format = ({[126] = ">I2", [127] = ">i8"})[size]
    if format then
        if #data - behind + 1 < string.packsize(format) then
            return nil
        end
        size, behind = string.unpack(format, data, behind)
    end
    return behind, size, first & 0x70 == 0 and second & 0x80 ~= 0
end

function Frames:tcp_payload(_, channel)
    if channel:input() == 0 then
        return -- data() would return anything
    end
    if self.wrong then
        channel:remove()
        return
    end
    local data, place = self.head .. channel:data(), 1
    self.head = ""
    if not self.over then
        local _, last = data:find("\r\n\r\n", 1, true)
        if not last then
            self.head = data
            return
        end
        self.over, place = true, last + 1
    end
    while true do
        local taken = math.min(self.left, #data - place + 1)
        place, self.left = place + taken, self.left - taken
        local behind, size, sound = read_head(data, place)
        if not behind then
            self.head = data:sub(place)
            return
        end
        if not sound or size < 0 or size > self.most then
            self.wrong = true
            channel:remove()
            return
        end
        place, self.left = behind, size + 4 -- with the mask
    end
end

core.register_filter(Frames.id, Frames, function(made, arguments)
    made.most = tonumber(arguments[1])
    return made
end)
