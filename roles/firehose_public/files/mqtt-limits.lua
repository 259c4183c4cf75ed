-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Limits what an anonymous client can cost a public broker. Mosquitto limits neither the topic filters nor the packets of a client, and keeps
-- a session for an hour or longer. This filter reads the packets that a client sends. It does not see those that a client receives.
-- Usage in haproxy.cfg: filter lua.mqtt-limits tcp|websockets LEVELS SUBSCRIPTIONS NETWORK_SUBSCRIPTIONS
--   LEVELS                 of all topic filters that a client has at a time. What filters have in common at their beginning counts once, as it
--                          takes memory of the broker once.
--   SUBSCRIPTIONS          of an address in a minute. sc0 tracks it, in a table that stores gpc0 and gpc0_rate(1m), and gpc1 and
--                          gpc1_rate(1h) to count how often a client of the address was held back.
--   NETWORK_SUBSCRIPTIONS  of its network in a minute, which sc1 tracks.
-- A client that goes beyond a limit of its own is disconnected. One whose address has subscribed too often waits. With the variable
-- sess.unlimited it is not limited.

-- Bytes of a packet, and of all topic filters of a client
local LARGEST, LARGEST_FILTERS = 16384, 8192
-- A packet costs 1, and 1 more for each UNIT of bytes. A client can spend BURST at once, and PER_SECOND for ever.
local UNIT, BURST, PER_SECOND = 128, 256, 4
-- Milliseconds until a client that waits is looked at again. The moment has to be set anew each time, or HAProxy would go on without a pause
-- when it has passed: for clients that wait no more, it is days away.
local PAUSE, DAYS = 500, 1 << 30

local CONNECT, SUBSCRIBE, UNSUBSCRIBE = 1, 8, 10
-- PUBLISH and what acknowledges it, PINGREQ, DISCONNECT, AUTH
local OTHERS = {[3] = true, [4] = true, [5] = true, [6] = true, [7] = true, [12] = true, [14] = true, [15] = true}
local DISCONNECT = "\xe0\x00"

local function ends(reason)
    error({reason = reason}, 0)
end

local function seconds()
    local now = core.now()
    return now.sec + now.usec / 1000000
end

-- ---- packets ----

-- A variable byte integer, and where the byte behind it is. Nothing if it is not complete.
local function variable(data, place)
    local value = 0
    for shift = 0, 21, 7 do
        local digit = data:byte(place)
        if not digit then
            return nil
        end
        value, place = value | (digit & 0x7f) << shift, place + 1
        if digit < 0x80 then
            return value, place
        end
    end
    ends("malformed packet")
end

-- Where the body of the packet at a place begins, and where it ends. Nothing if it is not complete.
local function packet_at(data, place)
    local size, body = variable(data, place + 1)
    if not size then
        return nil
    end
    if size > LARGEST then
        ends("packet size")
    end
    local last = body + size - 1
    return last <= #data and body, last
end

-- How long the value of each property of a CONNECT is. Other properties have text, or a number of texts.
local NUMBERS = {[0x11] = 4, [0x17] = 1, [0x19] = 1, [0x21] = 2, [0x22] = 2, [0x27] = 4}
local TEXTS = {[0x15] = 1, [0x16] = 1, [0x26] = 2}
local SESSION_EXPIRY = 0x11

local function session_expiry(packet, place)
    local size, property = variable(packet, place)
    local last = property + size - 1
    while property <= last do
        local kind = packet:byte(property)
        if kind == SESSION_EXPIRY then
            return property + 1
        end
        property = property + 1 + (NUMBERS[kind] or 0)
        for _ = 1, TEXTS[kind] or 0 do
            property = property + 2 + string.unpack(">I2", packet, property)
        end
        if not NUMBERS[kind] and not TEXTS[kind] then
            ends("malformed packet")
        end
    end
end

-- The CONNECT with a session that ends with the connection, and the version of MQTT.
local function without_session(packet, body)
    local _, place = string.unpack(">s2", packet, body)
    local version, flags = packet:byte(place, place + 1)
    packet = packet:sub(1, place) .. string.char(flags | 0x02) .. packet:sub(place + 2)
    local expiry = version & 0x7f == 5 and session_expiry(packet, place + 4)
    if expiry then
        packet = packet:sub(1, expiry - 1) .. "\0\0\0\0" .. packet:sub(expiry + 4)
    end
    return packet, version & 0x7f
end

-- The topic filters of a SUBSCRIBE or an UNSUBSCRIBE, behind each of which are so many bytes of options.
local function topic_filters(packet, body, version, options)
    local place, found, topic_filter = body + 2, {}, nil
    if version == 5 then
        local size, behind = variable(packet, place)
        place = behind + size
    end
    while place <= #packet do
        topic_filter, place = string.unpack(">s2", packet, place)
        found[#found + 1], place = topic_filter, place + options
    end
    return found
end

local function levels(topic_filter)
    return (topic_filter .. "/"):gmatch("([^/]*)/")
end

-- ---- websockets ----

local function unmasked(data, first, last, key)
    local bytes, mask = {data:byte(first, last)}, {key:byte(1, 4)}
    for place, byte in ipairs(bytes) do
        bytes[place] = string.char(byte ~ mask[(place - 1) % 4 + 1])
    end
    return table.concat(bytes)
end

-- A frame whose mask is zero
local function frame(kind, payload)
    local size = #payload
    local head = size < 126 and string.char(0x80 | size) or string.pack(">BI2", 0x80 | 126, size)
    return string.char(0x80 | kind) .. head .. "\0\0\0\0" .. payload
end

-- The kind and the payload of the frame at a place, and where the byte behind it is. Nothing if it is not complete.
local function frame_at(data, place)
    local first, second = data:byte(place, place + 1)
    if not second then
        return nil
    end
    local size, key = second & 0x7f, place + 2
    if size > 125 then
        local format = size == 126 and ">I2" or ">i8"
        if #data < key + string.packsize(format) - 1 then
            return nil
        end
        size, key = string.unpack(format, data, key)
    end
    -- What is left of several frames is put into one.
    if size < 0 or size > 2 * LARGEST then
        ends("frame size")
    end
    if first & 0x70 ~= 0 or second & 0x80 == 0 then
        ends("malformed frame")
    end
    local last = key + 4 + size - 1
    if last > #data then
        return nil
    end
    return first & 0x0f, unmasked(data, key + 4, last, data:sub(key, key + 3)), last + 1
end

-- ---- clients ----

local Client = {id = "mqtt-limits"}
Client.__index = Client

function Client:new()
    local client = {most_levels = self.most_levels, most_subscriptions = self.most_subscriptions, framed = self.framed}
    client.waits = false
    client.filters, client.bytes = {}, 0
    -- A tree of levels, each with the number of filters that go through it, and how many levels it has
    client.tree, client.levels = {}, 0
    client.credit, client.since = BURST, seconds()
    return setmetatable(client, Client)
end

function Client:start_analyze(txn, channel)
    if not channel:is_resp() then
        self.unlimited = txn:get_var("sess.unlimited")
        filter.register_data_filter(self, channel)
    end
end

function Client:spend(size)
    local now = seconds()
    self.credit = math.min(BURST, self.credit + (now - self.since) * PER_SECOND) - 1 - size // UNIT
    self.since = now
    if self.credit < 0 and not self.unlimited then
        ends("packets")
    end
end

function Client:limit_filters()
    if (self.levels > self.most_levels or self.bytes > LARGEST_FILTERS) and not self.unlimited then
        ends("topic filters")
    end
end

function Client:subscribe(found)
    for _, topic_filter in ipairs(found) do
        if not self.filters[topic_filter] then
            self.filters[topic_filter], self.bytes = true, self.bytes + #topic_filter
            local node = self.tree
            for level in levels(topic_filter) do
                if not node[level] then
                    node[level], self.levels = {0}, self.levels + 1
                end
                node = node[level]
                node[1] = node[1] + 1
                self:limit_filters()
            end
        end
    end
end

function Client:unsubscribe(found)
    for _, topic_filter in ipairs(found) do
        if self.filters[topic_filter] then
            self.filters[topic_filter], self.bytes = nil, self.bytes - #topic_filter
            local node = self.tree
            for level in levels(topic_filter) do
                local parent = node
                node = parent[level]
                node[1] = node[1] - 1
                if node[1] == 0 then
                    parent[level], self.levels = nil, self.levels - 1
                end
            end
        end
    end
end

-- Whether the address of the client may subscribe at this moment. Each topic filter counts: for each, the broker sends all retained messages.
function Client:may_subscribe(txn, count)
    if self.unlimited then
        return true
    end
    for counter, most in ipairs(self.most_subscriptions) do
        -- An address that no table has room for is not counted.
        if (txn.f:sc_gpc0_rate(counter - 1) or 0) >= most then
            return false
        end
    end
    for counter = 0, 1 do
        for _ = 1, count do
            txn.f:sc_inc_gpc0(counter)
        end
    end
    return true
end

-- The packet as the broker gets it, or nothing if the client has to wait.
function Client:take(txn, packet, body)
    local kind = packet:byte() >> 4
    if not self.version then
        if kind ~= CONNECT then
            ends("no CONNECT")
        end
        packet, self.version = without_session(packet, body)
    elseif kind == SUBSCRIBE then
        local found = topic_filters(packet, body, self.version, 1)
        self:subscribe(found)
        if not self:may_subscribe(txn, #found) then
            return nil
        end
    elseif kind == UNSUBSCRIBE then
        self:unsubscribe(topic_filters(packet, body, self.version, 0))
    elseif not OTHERS[kind] then
        ends("malformed packet")
    end
    self:spend(#packet)
    return packet
end

-- What the broker gets of packets that came, what is left of them, and whether that waits, or else is incomplete.
function Client:take_packets(txn, data)
    local out, place, waits = {}, 1, false
    while not waits do
        local body, last = packet_at(data, place)
        if not body then
            break
        end
        local packet = self:take(txn, data:sub(place, last), body - place + 1)
        waits = not packet
        if packet then
            out[#out + 1], place = packet, last + 1
        end
    end
    return table.concat(out), data:sub(place), waits
end

-- Of frames that came: control frames for the broker, the payload of others, and what is left.
function Client:take_frames(data)
    local control, payloads, place = {}, {}, 1
    while true do
        local kind, payload, behind = frame_at(data, place)
        if not kind then
            break
        end
        if kind <= 2 then
            payloads[#payloads + 1] = payload
        elseif kind >= 8 and kind <= 10 and #payload <= 125 then
            self:spend(#payload)
            control[#control + 1] = frame(kind, payload)
        else
            ends("malformed frame")
        end
        place = behind
    end
    return table.concat(control), table.concat(payloads), data:sub(place)
end

-- What the broker gets of data that came, what is left of it, and whether that waits.
function Client:forward(txn, data)
    if not self.framed then
        return self:take_packets(txn, data)
    end
    local head = ""
    if not self.upgraded then
        local _, last = data:find("\r\n\r\n", 1, true)
        if not last then
            if #data > LARGEST then
                ends("HTTP header")
            end
            return "", data, false
        end
        self.upgraded, head, data = true, data:sub(1, last), data:sub(last + 1)
    end
    local control, payload, raw = self:take_frames(data)
    local out, left, waits = self:take_packets(txn, payload)
    local function framed(packets)
        return #packets > 0 and frame(2, packets) or ""
    end
    -- A close frame comes last.
    return head .. framed(out) .. control, framed(left) .. raw, waits
end

-- Count that a client was held back, and log it once for each address and hour. The line at the end of the session has it, too.
function Client:held_back(txn, reason)
    txn:set_var("sess.limit", reason)
    if (txn.f:sc_gpc1_rate(0) or 0) == 0 then
        txn:Warning(txn.f:src() .. " is held back: " .. reason)
    end
    txn.f:sc_inc_gpc1(0)
end

function Client:ended(txn, reason)
    self.over = true
    self:held_back(txn, reason)
    -- Which ends the connection at the broker
    return self.framed and (self.upgraded and frame(2, DISCONNECT) or "\r\n\r\n") or DISCONNECT
end

-- HAProxy keeps what is not forwarded, and reads no more when its buffer is full.
function Client:tcp_payload(txn, channel)
    local data = channel:input() > 0 and channel:data() or ""
    local sound, out, left, waits = true, "", "", false
    if not self.over and #data > 0 then
        sound, out, left, waits = pcall(self.forward, self, txn, data)
        if not sound then
            out, left, waits = self:ended(txn, type(out) == "table" and out.reason or "malformed packet"), "", false
        end
    end
    if out .. left ~= data then
        channel:set(out .. left)
    end
    if waits and not self.waits then
        self:held_back(txn, "subscriptions")
    end
    if waits or self.has_waited then
        filter.wake_time(waits and PAUSE or DAYS)
        self.has_waited = true
    end
    self.waits = waits
    return #out
end

core.register_filter(Client.id, Client, function(made, arguments)
    made.framed = arguments[1] == "websockets"
    made.most_levels = tonumber(arguments[2])
    made.most_subscriptions = {tonumber(arguments[3]), tonumber(arguments[4])}
    return made
end)
