-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- What NATS 2.10 does not bear of clients. It ends when a websocket's frame claims 2^63 bytes or more, or to be compressed where nobody has
-- agreed on that (GHSA-pq2q-rcw4-3hr6), it holds packets of up to 256 MiB until they are complete, and it reads fields beyond the end of
-- their packet. So nothing more of a client that sends such a frame, or a longer frame or packet than there may be, or one whose fields do not
-- fill it, reaches NATS, which lets it go like one that has gone without a word.
-- A topic filter that begins with $ gets U+0001 in its place, with which the core takes no event: it is granted, and nothing comes.
-- With permissions instead, NATS keeps for each client of # every subject of its own that this client was not shown.
-- NATS keeps a consumer for each filter at QoS 1 or 2, and a record of each session that is to last. Their number is limited, for all clients
-- together, and everything comes at QoS 0 anyway. So whatever a client asks for, NATS is asked for QoS 0 and for a clean session.
-- It also writes a line to its log for each filter that it cannot take, with the client id in it, and looks for retained messages for each.
-- Usage in haproxy.cfg, where mode is tcp: filter lua.nats-clients tcp|websockets MOST
-- With websockets, HTTP has been looked at already, and has no body.

-- Which bytes become others: where a topic filter begins, as its QoS, and as the flags of a CONNECT
local OPENING, QOS, FLAGS = {[0x24] = 0x01}, {[1] = 0, [2] = 0}, {}
for flags = 0, 0xff do
    FLAGS[flags] = flags & 0x02 == 0 and flags | 0x02 or nil
end
-- How many bytes a client id may have, and how many topic filters a packet
local LONGEST_ID, MOST_FILTERS = 256, 256

-- Reads packets as NATS does. It is given the bytes that matter, one after the other, for it says which is the next one: how many are before
-- that, and which others it becomes, if any. It fails with what may not be.
local Reader = {}
Reader.__index = Reader

function Reader:claim(count)
    self.left = self.left - count
    assert(self.left >= 0)
end

function Reader:await(others)
    local before = self.before
    self.before = 0
    return coroutine.yield(before, others)
end

function Reader:skip(count)
    self:claim(count)
    self.before = self.before + count
end

function Reader:byte(others)
    self:claim(1)
    return self:await(others)
end

function Reader:number()
    return self:byte() << 8 | self:byte()
end

function Reader:text()
    self:skip(self:number())
end

function Reader:topic_filter()
    local size = self:number()
    if size > 0 then
        self:byte(OPENING)
        self:skip(size - 1)
    end
end

function Reader:identifier()
    self:skip(2)
end

function Reader:ping()
end

function Reader:disconnect()
    self.over = true
end

function Reader:connect()
    self:text()
    if self:byte() ~= 4 then
        return self:skip(self.left) -- NATS refuses every other version of MQTT
    end
    local flags = self:byte(FLAGS)
    self:skip(2)
    local size = self:number()
    assert(size <= LONGEST_ID)
    self:skip(size)
    for _, flag in ipairs({0x04, 0x04, 0x80, 0x40}) do -- topic and payload of a will, name, password
        if flags & flag ~= 0 then
            self:text()
        end
    end
end

function Reader:publish(flags)
    self:text()
    self:skip(flags & 0x06 ~= 0 and 2 or 0)
    self:skip(self.left)
end

function Reader:filters(have_qos)
    self:identifier()
    local count = 0
    while self.left > 0 do
        count = count + 1
        assert(count <= MOST_FILTERS)
        self:topic_filter()
        if have_qos then
            self:byte(QOS)
        end
    end
end

function Reader:subscribe()
    self:filters(true)
end

function Reader:unsubscribe()
    self:filters(false)
end

Reader.kinds = {
    [3] = Reader.publish,
    [4] = Reader.identifier, [5] = Reader.identifier, [6] = Reader.identifier, [7] = Reader.identifier,
    [8] = Reader.subscribe, [10] = Reader.unsubscribe, [12] = Reader.ping, [14] = Reader.disconnect,
}

function Reader:length()
    local size, shift, digit = 0, 0, nil
    repeat
        assert(shift <= 21)
        digit = self:await()
        size = size | (digit & 0x7f) << shift
        shift = shift + 7
        assert(size <= self.most)
    until digit < 0x80
    return size
end

function Reader:packet(kinds)
    local first = self:await()
    assert(not self.over)
    self.left = self:length()
    assert(kinds[first >> 4])(self, first & 0x0f)
    assert(self.left == 0)
end

function Reader:packets()
    self:packet({[1] = Reader.connect})
    while true do
        self:packet(self.kinds)
    end
end

local Packets = {}
Packets.__index = Packets

local function new_packets(most)
    local reader = setmetatable({most = most, left = 0, before = 0}, Reader)
    local thread = coroutine.create(reader.packets)
    coroutine.resume(thread, reader)
    -- How many bytes are before the next one that matters, and which others that becomes.
    return setmetatable({thread = thread, skip = 0, others = nil}, Packets)
end

-- Follow packets through some bytes, which a frame may have masked. Whether all may be. What has to become others goes to changes, in its order.
function Packets:follow(data, place, last, key, turn, changes)
    local sound = true
    while place <= last and sound do
        local taken = math.min(self.skip, last - place + 1)
        if taken > 0 then
            self.skip = self.skip - taken
        else
            taken = 1
            local mask = key and key:byte(turn % 4 + 1) or 0
            local byte = data:byte(place) ~ mask
            local other = self.others and self.others[byte]
            if other then
                changes[#changes + 1] = {place = place, byte = string.char(other ~ mask)}
            end
            sound, self.skip, self.others = coroutine.resume(self.thread, byte)
        end
        place, turn = place + taken, turn + taken
    end
    return sound
end

-- Some data from a place on, with its changes
local function changed(data, place, changes)
    local pieces = {}
    for _, change in ipairs(changes) do
        pieces[#pieces + 1] = data:sub(place, change.place - 1)
        pieces[#pieces + 1] = change.byte
        place = change.place + 1
    end
    pieces[#pieces + 1] = data:sub(place)
    return table.concat(pieces)
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
    local kind = first & 0x0f
    self.carries = kind <= 2
    local known = self.carries or (kind >= 8 and kind <= 10 and size <= 125)
    return behind + 4, known and first & 0x70 == 0 and second & 0x80 ~= 0 and size >= 0 and size <= self.most
end

-- Whether all that has come may be, which begins with the head that self has.
function Client:follow_frames(data, changes)
    local place, sound = 1, true
    self.head = ""
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
            if self.carries and not self.packets:follow(data, place, place + taken - 1, self.key, self.turn, changes) then
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
        local before, changes = #self.head, {}
        local data = self.head .. channel:data()
        if self.framed then
            self.wrong = not self:follow_frames(data, changes)
        else
            self.wrong = not self.packets:follow(data, 1, #data, nil, 0, changes)
        end
        if #changes > 0 then
            self.wrong = self.wrong or channel:set(changed(data, before + 1, changes)) < 0
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
