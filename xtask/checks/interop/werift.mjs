// A producer on werift, under Node: `node werift.mjs SIGNAL STUN,STUN FOLDER`, where FOLDER has werift installed.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { runInThisContext } from "node:vm";

const [signal, servers, folder] = process.argv.slice(2);
const { RTCPeerConnection } = createRequire(`${folder}/`)("werift");
runInThisContext(readFileSync(new URL("producer.js", import.meta.url), "utf8"));

globalThis.produce(signal, {
  connect: () => new RTCPeerConnection({ iceServers: servers.split(",").map((urls) => ({ urls })) }),
  gathered: async (connection) => {
    while (connection.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
  },
  echo: (connection) =>
    new Promise((resolve) => {
      connection.onDataChannel.subscribe((channel) => {
        channel.onMessage.subscribe((data) => channel.send(data));
        channel.stateChanged.subscribe((state) => state === "closed" && resolve());
      });
      connection.connectionStateChange.subscribe((state) => ["failed", "closed"].includes(state) && resolve());
    }),
});
