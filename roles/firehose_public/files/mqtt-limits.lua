-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Limits the load of an anonymous client on a public broker. Mosquitto limits neither the topic filters nor the packets of a client, and keeps
-- a session for an hour or longer. This filter reads the packets that a client sends. It does not see those that a client receives.
-- Usage in haproxy.cfg: filter lua.mqtt-limits mqtt|websockets LEVELS SUBSCRIPTIONS NETWORK_SUBSCRIPTIONS
--   LEVELS                 topic levels of all filters that a client has at a time. A common beginning of filters counts once, as it uses
--                          the broker's memory once.
--   SUBSCRIPTIONS          subscriptions of an address per minute. sc0 tracks the address, in a table that stores gpc0 and gpc0_rate(1m), and gpc1
--                          and gpc1_rate(1h) to count how often a client of the address was held back.
--   NETWORK_SUBSCRIPTIONS  subscriptions of its network per minute. sc1 tracks the network.
-- A client that exceeds a limit of its own is disconnected. A client waits if its address has subscribed too often, or while other clients
-- subscribe. A client with the variable sess.unlimited has no limits.

local haproxy = require("haproxy")
local mqtt = require("mqtt")
local bytes, seconds, wake = haproxy.bytes, haproxy.seconds, haproxy.wake
local ends, frame = mqtt.ends, mqtt.frame

-- Maximum bytes of all topic filters of a client
local LARGEST_FILTERS = 8192
-- A packet costs 1, and 1 more for each UNIT bytes. A client can spend BURST at once, and PER_SECOND continuously.
local UNIT, BURST, PER_SECOND = 128, 256, 4
-- AT_ONCE subscriptions of an address per minute pass at once. All others, of all addresses together, take turns of TURN seconds: for each, a
-- broker can be busy for some milliseconds with retained messages.
local AT_ONCE, TURN = 2, 0.04
-- Milliseconds until a waiting client is checked again: for the limit of its address, and for its turn
local PAUSE, TURN_PAUSE = 500, 200

local CONNECT, SUBSCRIBE, UNSUBSCRIBE = 1, 8, 10
-- PUBLISH and its acknowledgements, PINGREQ, DISCONNECT, AUTH
local OTHERS = {[3] = true, [4] = true, [5] = true, [6] = true, [7] = true, [12] = true, [14] = true, [15] = true}
local PINGREQ, DISCONNECT = "\xc0\x00", "\xe0\x00"

local Client = {id = "mqtt-limits"}
Client.__index = Client
-- Time of the next turn
local next_turn = 0

function Client:new()
    local client = {most_levels = self.most_levels, most_subscriptions = self.most_subscriptions, framed = self.framed}
    client.left, client.forwarded = "", 0
    client.filters, client.bytes = {}, 0
    -- A tree of levels, each with the number of filters that contain it, and the number of levels in the tree
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
            for level in mqtt.levels(topic_filter) do
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
            for level in mqtt.levels(topic_filter) do
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

-- Whether the address of the client can subscribe now. Each topic filter counts: for each, the broker sends all retained messages.
function Client:may_subscribe(txn, count)
    if self.unlimited then
        return true
    end
    for counter, most in ipairs(self.most_subscriptions) do
        -- An address without room in the table is not counted.
        if (txn.f:sc_gpc0_rate(counter - 1) or 0) >= most then
            self.pause = PAUSE
            return false
        end
    end
    self.pause = TURN_PAUSE
    if (txn.f:sc_gpc0_rate(0) or AT_ONCE) >= AT_ONCE then
        if seconds() < next_turn then
            return false
        end
        next_turn = seconds() + TURN * count
    end
    for counter = 0, 1 do
        for _ = 1, count do
            txn.f:sc_inc_gpc0(counter)
        end
    end
    return true
end

-- The packet for the broker, or nil if the client has to wait.
function Client:take(txn, packet, body)
    local kind = packet:byte() >> 4
    if not self.version then
        packet, self.version = mqtt.without_session(packet, body)
    elseif kind == SUBSCRIBE then
        local found = mqtt.topic_filters(packet, body, self.version, 1)
        if #found > self.most_levels and not self.unlimited then
            ends("topic filters")
        end
        self:subscribe(found)
        if not self:may_subscribe(txn, #found) then
            return nil
        end
    elseif kind == UNSUBSCRIBE then
        self:unsubscribe(mqtt.topic_filters(packet, body, self.version, 0))
    elseif not OTHERS[kind] then
        ends("malformed packet")
    end
    self:spend(#packet)
    return packet
end

-- The packets for the broker, the data that is left, and whether that waits; otherwise it is incomplete.
function Client:take_packets(txn, data)
    local out, place, waits = {}, 1, false
    while not waits do
        if not self.version and data:byte(place) and data:byte(place) >> 4 ~= CONNECT then
            ends("no CONNECT")
        end
        local body, last = mqtt.packet_at(data, place)
        if not body then
            break
        end
        local packet = self:take(txn, data:sub(place, last), body - place + 1)
        waits = not packet
        if packet then
            out[#out + 1], place = packet, last + 1
        end
    end
    local left = data:sub(place)
    if waits then
        left = self:take_pings(left, out)
    end
    return table.concat(out), left, waits
end

-- Keeps a waiting client alive: its PINGREQ pass other packets. Returns the other packets.
function Client:take_pings(data, out)
    local left, place = {}, 1
    while true do
        local body, last = mqtt.packet_at(data, place)
        if not body then
            break
        end
        local packet = data:sub(place, last)
        if packet == PINGREQ then
            self:spend(#packet)
            out[#out + 1] = packet
        else
            left[#left + 1] = packet
        end
        place = last + 1
    end
    left[#left + 1] = data:sub(place)
    return table.concat(left)
end

-- The control frames for the broker, the payload of other frames, and the data that is left.
function Client:take_frames(data)
    local control, payloads, place = {}, {}, 1
    while true do
        local kind, payload, behind = mqtt.frame_at(data, place)
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

-- The data for the broker, the data that is left, and whether that waits.
function Client:forward(txn, data)
    if not self.framed then
        return self:take_packets(txn, data)
    end
    local head = ""
    if not self.upgraded then
        local _, last = data:find("\r\n\r\n", 1, true)
        if (last or #data) > mqtt.LARGEST then
            ends("HTTP header")
        end
        if not last then
            return "", data, false
        end
        head = data:sub(1, last)
        -- Brokers also accept a line that ends without \r: they would read a part of this header as frames.
        if not head:find("^GET ") or head:find("[^\r]\n") then
            ends("HTTP header")
        end
        self.upgraded, data = true, data:sub(last + 1)
    end
    local control, payload, raw = self:take_frames(data)
    local out, left, waits = self:take_packets(txn, payload)
    local function framed(packets)
        return #packets > 0 and frame(2, packets) or ""
    end
    -- A close frame comes last.
    return head .. framed(out) .. control, framed(left) .. raw, waits
end

-- Counts that a client was held back, and logs it once per address and hour. The line at the end of the session has the reason, too.
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
    -- This ends the connection at the broker.
    return self.framed and (self.upgraded and frame(2, DISCONNECT) or "\r\n\r\n") or DISCONNECT
end

-- The received data
function Client:read(channel)
    local size, known = channel:input(), self.left
    if size == #known then
        return known
    end
    if (size - #known) // UNIT > BURST and not self.unlimited then
        ends("packets")
    end
    if self.forwarded == 0 then
        return channel:data()
    end
    return known .. (bytes(channel, #known, size, self.forwarded) or ends("no room"))
end

-- The data for the broker, the data that is left, whether that waits, and whether the data in the buffer changes.
function Client:process(txn, channel)
    local data = self:read(channel)
    if #data == 0 then
        return "", "", false, false
    end
    local out, left, waits = self:forward(txn, data)
    if #out == 0 and #data > #self.left then
        -- Packets and frames in many pieces cost credit, too.
        self:spend(0)
    end
    return out, left, waits, out .. left ~= data
end

-- HAProxy keeps the data that is left, and stops reading when its buffer is full.
function Client:tcp_payload(txn, channel)
    if self.over then
        channel:remove()
        return 0
    end
    local sound, out, left, waits, changed = pcall(self.process, self, txn, channel)
    if not sound then
        out, left, waits, changed = self:ended(txn, type(out) == "table" and out.reason or "malformed packet"), "", false, true
    end
    if changed and channel:set(out .. left) < 0 then
        error("no room")
    end
    if waits and self.pause == PAUSE and not self.is_held_back then
        self:held_back(txn, "subscriptions")
    end
    self.is_held_back = waits and self.pause == PAUSE
    wake(self, waits and self.pause or nil)
    self.left, self.forwarded = left, self.forwarded + #out
    return #out
end

core.register_filter(Client.id, Client, function(made, arguments)
    made.framed = arguments[1] == "websockets"
    made.most_levels = tonumber(arguments[2])
    made.most_subscriptions = {tonumber(arguments[3]), tonumber(arguments[4])}
    return made
end)
