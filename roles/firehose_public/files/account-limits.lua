-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Limits accounts, so that none uses up the capacity of others: the accounts broker holds events for all public brokers in shared queues.
-- This filter follows the packets that a client sends. An account that exceeds its limits waits: its packets are read later.
-- Usage in haproxy.cfg: filter lua.account-limits mqtt|websockets MESSAGES BYTES [USERNAME=MESSAGES:BYTES ...]
--   MESSAGES, BYTES  per second, for each account. 0 is no limit, and an account where both are 0 has no limits at all. An account can use the
--                    messages and bytes of BURST seconds at once.
--   USERNAME         URL-encoded, of an account with other limits

local haproxy = require("haproxy")
local mqtt = require("mqtt")
local stream = require("mqtt-stream")
local bytes, seconds, wake = haproxy.bytes, haproxy.seconds, haproxy.wake

local BURST = 50
-- Cost of packets by kind, in messages. Other kinds cost 1. For each subscription the broker sends retained messages.
local COSTS = {[1] = 20, [4] = 1 / 16, [5] = 1 / 16, [6] = 1 / 16, [7] = 1 / 16, [8] = 0}
local SUBSCRIPTION, FRAME = 100, 1 / 16
-- Maximum topic filters of a SUBSCRIBE
local FILTERS = 100
-- Maximum bytes of a CONNECT, and of all data up to its end. The client has not logged in yet.
local LARGEST_CONNECT, LARGEST_LOGIN = 4096, 16384
-- Topic levels that an account can add to the subscriptions of its sessions per day. A level takes up to 0.7 KiB of the broker's memory.
-- Levels of a session that ends with its connection no longer count after that.
local LEVELS, DAY, HOUR = 65536, 86400, 3600
-- Each FILTER_BYTES bytes of topic filters count as another level.
local FILTER_BYTES = 8
-- Maximum sessions of an account that outlive their connections. The broker holds messages for each.
local SESSIONS = 16
-- Milliseconds until a waiting client is checked again: for its limits, and for the broker's answer to its CONNECT
local PAUSE, ANSWER = 100, 20

local NAMES = {messages = "messages", bytes = "bytes", levels = "topic levels"}
local CONNECT, CONNACK, SUBSCRIBE = 1, 2, 8
local DISCONNECT = "\xe0\x00"

-- ---- accounts ----

local Account = {}
Account.__index = Account
-- All accounts that have logged in since HAProxy was started or reloaded, by username
local accounts = {}

function Account.named(username, limits)
    local account = accounts[username]
    if not account then
        local most = {messages = limits.messages * BURST, bytes = limits.bytes * BURST, levels = LEVELS}
        account = setmetatable({most = most, credit = {}, since = seconds(), sessions = {}, logged = {}}, Account)
        for name, credit in pairs(most) do
            account.credit[name] = credit
        end
        accounts[username] = account
    end
    return account
end

-- Subtracts the used amounts, and returns the name of an exceeded limit, if any.
function Account:pay(used)
    local now, exceeded = seconds(), nil
    for name, most in pairs(self.most) do
        local rate = most / (name == "levels" and DAY or BURST)
        self.credit[name] = math.min(most, self.credit[name] + (now - self.since) * rate) - used[name]
        if most > 0 and self.credit[name] < 0 then
            exceeded = NAMES[name]
        end
    end
    self.since = now
    return exceeded
end

-- Whether a session with this client ID can outlive its connection
function Account:has_room(client_id)
    local now, count = seconds(), 0
    for id, last in pairs(self.sessions) do
        if now - last > DAY then
            self.sessions[id] = nil
        elseif id ~= client_id then
            count = count + 1
        end
    end
    return count < SESSIONS
end

-- ---- connections ----

local Client = {id = "account-limits"}
Client.__index = Client

function Client:new()
    local client = setmetatable({framed = self.framed, limits = self.limits, others = self.others}, Client)
    client.used, client.levels, client.seen = {messages = 0, bytes = 0, levels = 0}, 0, 0
    client.sent = {follow = stream.follow(self.framed, function(...) client:on_packet(...) end, function() client:on_frame() end)}
    client.answers = {follow = stream.follow(self.framed, function(...) client:on_answer(...) end)}
    for _, direction in ipairs({client.sent, client.answers}) do
        direction.skip = direction.follow()
    end
    return client
end

function Client:start_analyze(txn, channel)
    filter.register_data_filter(self, channel)
end

function Client:end_analyze(txn, channel)
    if self.account and not self.is_kept then
        self.account:pay({messages = 0, bytes = 0, levels = -self.levels})
        self.levels = 0
    end
end

function Client:find_room(account)
    if not account:has_room(self.session) then
        mqtt.ends("sessions")
    end
end

function Client:on_frame()
    self.used.messages = self.used.messages + FRAME
end

function Client:on_packet(kind, size, read, skip)
    self.used.bytes = self.used.bytes + size
    self.used.messages = self.used.messages + (COSTS[kind] or 1)
    self.is_to_pay = kind == CONNECT or kind == SUBSCRIBE
    if kind == CONNECT then
        if self.username or size > LARGEST_CONNECT then
            mqtt.ends("malformed packet")
        end
        local login = mqtt.login(read(size))
        self.version, self.username, self.client_id, self.is_kept = login.version, login.username or "", login.client_id, login.is_kept
        -- Without a client ID, each connection has a session of its own.
        self.session = login.client_id ~= "" and login.client_id or {}
        if self.is_kept and accounts[self.username] then
            self:find_room(accounts[self.username])
        end
    elseif kind == SUBSCRIBE then
        local packet = read(size)
        local count = #mqtt.topic_filters(packet, 1, self.version, 1)
        if count > FILTERS then
            mqtt.ends("topic filters")
        end
        self.used.messages = self.used.messages + count * SUBSCRIPTION
        local _, slashes = packet:gsub("/", "")
        local levels = slashes + size / FILTER_BYTES
        self.levels, self.used.levels = self.levels + levels, self.used.levels + levels
    else
        skip(size)
    end
end

function Client:on_answer(kind, size, read, skip)
    local present, code = 1, 1
    if kind == CONNACK then
        present, code = read(size):byte(1, 2)
    end
    self.is_accepted = code == 0
    -- MQTT 3.1 does not say whether there is a session.
    self.is_new = self.is_accepted and self.is_kept and self.version & 0x7f > 3 and present & 1 == 0
    self.is_answered = true
    skip(math.maxinteger)
end

-- Follows the received data from a position on, and returns the position that it has reached. It stops after a packet that may exceed a limit by
-- far, or if HAProxy has no room for a while.
function Client:follow(channel, direction, place)
    local size = channel:input()
    self.is_to_pay = false
    while place < size and not self.is_to_pay do
        if direction.skip > 0 then
            local step = math.min(direction.skip, size - place)
            place, direction.skip = place + step, direction.skip - step
            if direction.skip == 0 then
                direction.skip = direction.follow()
            end
        else
            local byte
            if direction.has_forwarded then
                byte = bytes(channel, place, place + 1)
            else
                byte = channel:data(place, 1)
            end
            if not byte then
                break
            end
            place, direction.skip = place + 1, direction.follow(byte:byte())
        end
    end
    return place
end

-- Notes the limit for the line at the end of the session, and logs it once an hour for each account.
function Client:log(txn, what, limit)
    txn:set_var("sess.limit", limit)
    local account = accounts[self.username]
    if account and seconds() - (account.logged[what] or 0) > HOUR then
        account.logged[what] = seconds()
        txn:Warning("account " .. self.username .. " is " .. what .. ": " .. limit)
    end
end

-- The milliseconds that the client has to wait, nil if it need not.
function Client:has_to_wait(txn)
    if not self.username then
        return nil
    elseif not self.is_answered then
        return ANSWER
    elseif not self.account then
        self.account = Account.named(self.username, self:own_limits())
        if self.is_kept then
            -- Other sessions may have been accepted at the same time.
            self:find_room(self.account)
            self.account.sessions[self.session] = seconds()
        end
    end
    local exceeded = self.account:pay(self.used)
    self.used = {messages = 0, bytes = 0, levels = 0}
    if not exceeded then
        return nil
    end
    self:log(txn, "slowed down", exceeded)
    return PAUSE
end

function Client:own_limits()
    return self.others[self.username] or self.limits
end

function Client:is_unlimited()
    local limits = self:own_limits()
    return self.is_accepted and limits.messages == 0 and limits.bytes == 0
end

-- The number of bytes from the client that are for the broker now
function Client:process(txn, channel)
    local size, place, before = channel:input(), 0, -1
    while place > before do
        local pause = self:has_to_wait(txn)
        wake(self, pause)
        if pause or place == size then
            break
        end
        before, place = place, self:follow(channel, self.sent, place)
        self.seen = self.seen + place - before
        if not self.username and self.seen > LARGEST_LOGIN then
            mqtt.ends("no CONNECT")
        end
    end
    self.sent.has_forwarded = self.sent.has_forwarded or place > 0
    return place
end

-- Sends the broker a packet or line that ends the connection.
function Client:reject(txn, channel, reason)
    self.is_over = true
    wake(self, nil)
    self:log(txn, "rejected", reason)
    local said = DISCONNECT
    if self.framed then
        said = self.sent.has_forwarded and mqtt.frame(2, DISCONNECT) or "\r\n\r\n"
    end
    channel:set(said)
    return #said
end

-- Drops data after the end, as slowly as it is read from a waiting client.
function Client:drop(channel)
    local now = seconds()
    if now >= (self.drops_at or 0) then
        self.drops_at = now + PAUSE / 1000
        channel:remove()
    end
    wake(self, channel:input() > 0 and PAUSE or nil)
    return 0
end

function Client:tcp_payload(txn, channel)
    if channel:is_resp() then
        local passed = self:follow(channel, self.answers, 0)
        self.answers.has_forwarded = true
        if self.is_answered then
            if self.is_new then
                -- No message waited for this client. If it had a session before, that is lost.
                txn:Warning("account " .. self.username .. " at " .. txn.f:src() .. " has a new session")
            end
            filter.unregister_data_filter(self, channel)
        end
        return passed
    elseif self.is_over or self.is_answered and not self.is_accepted then
        return self:drop(channel)
    elseif self:is_unlimited() then
        filter.unregister_data_filter(self, channel)
        return channel:input()
    end
    local sound, passed = pcall(self.process, self, txn, channel)
    if self.username and not self.is_named then
        self.is_named = true
        txn:set_var("sess.client_id", self.client_id)
        txn:set_var("sess.username", self.username)
    end
    if not sound then
        return self:reject(txn, channel, type(passed) == "table" and passed.reason or "malformed packet")
    end
    return passed
end

core.register_filter(Client.id, Client, function(made, arguments)
    made.framed = arguments[1] == "websockets"
    made.limits = {messages = tonumber(arguments[2]), bytes = tonumber(arguments[3])}
    made.others = {}
    for place = 4, #arguments do
        local username, messages, size = arguments[place]:match("^(.*)=(%d+):(%d+)$")
        username = username:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
        made.others[username] = {messages = tonumber(messages), bytes = tonumber(size)}
    end
    return made
end)
