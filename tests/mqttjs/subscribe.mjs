// SPDX-FileCopyrightText: the opendev.firehose authors
// SPDX-License-Identifier: GPL-3.0-or-later
// node subscribe.mjs URL VERSION FILTER...: says "ready" once subscribed, then prints each message as a line of JSON.
// Ends with its standard input.
import mqtt from "mqtt";

const [url, version, ...filters] = process.argv.slice(2);

function fail(reason) {
  console.error(`${reason}`);
  process.exit(1);
}

const client = mqtt.connect(url, { protocolVersion: Number(version), reconnectPeriod: 0 });
client.on("error", fail);
client.on("close", () => fail("the connection was closed"));
client.on("message", (topic, payload, { qos, retain }) => {
  console.log(JSON.stringify({ topic, payload: payload.toString(), qos, retain }));
});
client.on("connect", () => {
  client.subscribe(filters, { qos: 2 }, (error) => (error ? fail(error) : console.log("ready")));
});
process.stdin.on("end", () => process.exit(0)).resume();
