-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- What NATS 2.10 does not bear of clients. It ends when a websocket's frame claims 2^63 bytes or more, or to be compressed where nobody has
-- agreed on that (GHSA-pq2q-rcw4-3hr6), and it holds packets of up to 256 MiB until they are complete. So nothing more of a client
-- that sends such a frame, or a longer frame or packet than there may be, reaches NATS, which lets it go like one that has gone without a word.
-- Usage in haproxy.cfg, where mode is tcp: filter lua.nats-clients tcp|websockets MOST
-- With websockets, HTTP has been looked at already, and has no body.

local Packets = {}
Packets.__index = Packets

local function new_packets(most)
    -- How much is still to come of a packet; whether its first byte has come, and what of its length.
    return setmetatable({most = most, left = 0, begun = false, size = 0, shift = 0}, Packets)
end

-- Follow packets through some bytes, which a frame may have masked. Whether all may be.
function Packets:follow(data, place, last, key, turn)
    while place <= last do
        local taken = math.min(self.left, last - place + 1)
        if taken > 0 then
            self.left = self.left - taken
        else
            taken = 1
            local byte = data:byte(place) ~ (key and key:byte(turn % 4 + 1) or 0)
            if not self.begun then
                self.begun, self.size, self.shift = true, 0, 0
            else
                self.size = self.size | (byte & 0x7f) << self.shift
                self.shift = self.shift + 7
                if self.size > self.most or (byte > 0x7f and self.shift > 21) then
                    return false
                end
                if byte < 0x80 then
                    self.begun, self.left = false, self.size
                end
            end
        end
        place, turn = place + taken, turn + taken
    end
    return true
end

local Client = {id = "nats-clients"}
Client.__index = Client

function Client:new()
    local made = {most = self.most, packets = new_packets(self.most), wrong = false}
    -- Of websockets: whether HTTP is over, what has come of it or of a frame's head, and how much of that frame is still to come.
    made.framed, made.over, made.head, made.left = self.framed, false, "", 0
    return setmetatable(made, Client)
end

function Client:start_analyze(_, channel)
    if not channel:is_resp() then
        filter.register_data_filter(self, channel)
    end
end

-- Read a frame's head that begins at a place. Where what is behind it begins, or nothing if more has to come first; and whether it may be.
function Client:read_head(data, place)
    local first, second = data:byte(place, place + 1)
    if not second then
        return nil, true
    end
    local size, behind = second & 0x7f, place + 2
    local format = ({[126] = ">I2", [127] = ">i8"})[size]
    local needed = (format and string.packsize(format) or 0) + 4
    if #data - behind + 1 < needed then
        return nil, true
    end
    if format then
        size, behind = string.unpack(format, data, behind)
    end
    self.left, self.turn, self.key = size, 0, data:sub(behind, behind + 3)
    self.carries = first & 0x0f < 8
    return behind + 4, first & 0x70 == 0 and second & 0x80 ~= 0 and size >= 0 and size <= self.most
end

-- Whether all that has come may be.
function Client:follow_frames(data)
    local place, sound = 1, true
    data, self.head = self.head .. data, ""
    if not self.over then
        local _, last = data:find("\r\n\r\n", 1, true)
        if not last then
            self.head = data
            return true
        end
        self.over, place = true, last + 1
    end
    while true do
        local taken = math.min(self.left, #data - place + 1)
        if taken > 0 then
            if self.carries and not self.packets:follow(data, place, place + taken - 1, self.key, self.turn) then
                return false
            end
            place, self.left, self.turn = place + taken, self.left - taken, self.turn + taken
        end
        if self.left > 0 then
            return true
        end
        local behind
        behind, sound = self:read_head(data, place)
        if not sound then
            return false
        end
        if not behind then
            self.head = data:sub(place)
            return true
        end
        place = behind
    end
end

function Client:tcp_payload(_, channel)
    if channel:input() == 0 then
        return -- data() would return anything
    end
    if not self.wrong then
        local data = channel:data()
        if self.framed then
            self.wrong = not self:follow_frames(data)
        else
            self.wrong = not self.packets:follow(data, 1, #data, nil, 0)
        end
    end
    if self.wrong then
        channel:remove()
    end
end

core.register_filter(Client.id, Client, function(made, arguments)
    made.framed, made.most = arguments[1] == "websockets", tonumber(arguments[2])
    return made
end)
