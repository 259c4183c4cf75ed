-- SPDX-FileCopyrightText: the opendev.firehose authors
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Logs the beginning of a session. HAProxy itself writes only one line per session, at its end.
core.register_action("log_connect", { "tcp-req" }, function(txn)
    txn:Info(txn.f:src() .. ":" .. txn.f:src_port() .. " connected to port " .. txn.f:dst_port())
end)
