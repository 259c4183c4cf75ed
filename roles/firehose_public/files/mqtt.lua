-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Reads the data of clients: packets of MQTT 3.1, 3.1.1 and 5, and websocket frames. Pure functions, for the filters.
-- Each function fails with a table whose field reason names the problem, or with an error of Lua.

-- Maximum bytes of the body of a packet
local LARGEST = 16384

local function ends(reason)
    error({reason = reason}, 0)
end

-- ---- packets ----

-- A variable byte integer, and the position after it. Nil if it is not complete.
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

-- The first and last position of the body of the packet at a position. Nil or false if it is not complete.
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

-- Bytes of the value of each property of a CONNECT and of its will. Below, the number of texts of other properties.
local NUMBERS = {[0x01] = 1, [0x02] = 4, [0x11] = 4, [0x17] = 1, [0x18] = 4, [0x19] = 1, [0x21] = 2, [0x22] = 2, [0x27] = 4}
local TEXTS = {[0x03] = 1, [0x08] = 1, [0x09] = 1, [0x15] = 1, [0x16] = 1, [0x26] = 2}
-- With either, a broker keeps the session of a disconnected client. Both are numbers of four bytes.
local SESSION_EXPIRY, WILL_DELAY = 0x11, 0x18

-- The packet with the value of a property set to zero, and the position after the properties.
local function without(packet, place, unwanted)
    local size, property = variable(packet, place)
    local last = property + size - 1
    while property <= last do
        local kind = packet:byte(property)
        if kind == unwanted then
            if property + 4 > last then
                ends("malformed packet")
            end
            packet = packet:sub(1, property) .. "\0\0\0\0" .. packet:sub(property + 5)
        end
        property = property + 1 + (NUMBERS[kind] or 0)
        for _ = 1, TEXTS[kind] or 0 do
            property = property + 2 + string.unpack(">I2", packet, property)
        end
        if not NUMBERS[kind] and not TEXTS[kind] then
            ends("malformed packet")
        end
    end
    return packet, last + 1
end

-- The CONNECT with a session that ends with the connection, and the version of MQTT.
local function without_session(packet, body)
    local _, place = string.unpack(">s2", packet, body)
    local version, flags = packet:byte(place, place + 1)
    -- Brokers treat it as version 5, but do not look for properties of the CONNECT.
    if version == 0x85 then
        ends("malformed packet")
    end
    packet = packet:sub(1, place) .. string.char(flags | 0x02) .. packet:sub(place + 2)
    if version & 0x7f == 5 then
        packet, place = without(packet, place + 4, SESSION_EXPIRY)
        if flags & 0x04 ~= 0 then
            _, place = string.unpack(">s2", packet, place)
            packet = without(packet, place, WILL_DELAY)
        end
    end
    return packet, version & 0x7f
end

-- From the body of a CONNECT: the version, the client ID, the username if there is one, and whether its session can outlive the connection.
local function login(body)
    local _, place = string.unpack(">s2", body)
    local version, flags = body:byte(place, place + 1)
    -- After the keepalive
    place = place + 4
    local function skip_properties()
        if version & 0x7f == 5 then
            local size, behind = variable(body, place)
            place = behind + size
        end
    end
    local function text()
        local found
        found, place = string.unpack(">s2", body, place)
        return found
    end
    skip_properties()
    local client_id = text()
    if flags & 0x04 ~= 0 then
        skip_properties()
        text()
        text()
    end
    return {
        version = version,
        client_id = client_id,
        username = flags & 0x80 ~= 0 and text() or nil,
        is_kept = without_session(body, 1) ~= body,
    }
end

-- The topic filters of a SUBSCRIBE or an UNSUBSCRIBE, each followed by this number of bytes of options.
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
    -- Data that is left of frames has this mask, each time that more data arrives.
    if key == "\0\0\0\0" then
        return data:sub(first, last)
    end
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

-- The kind and the payload of the frame at a position, and the position after it. Nil if it is not complete.
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
    -- The data that is left of several frames is put into one.
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

return {
    LARGEST = LARGEST,
    ends = ends,
    packet_at = packet_at,
    without_session = without_session,
    login = login,
    topic_filters = topic_filters,
    levels = levels,
    frame = frame,
    frame_at = frame_at,
}
