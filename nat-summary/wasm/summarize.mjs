// Loads the module and gives its one function a JavaScript form: text with candidate lines in, the line out.
//
//   node summarize.mjs nat_summary_wasm.wasm            runs the check below
//   node summarize.mjs nat_summary_wasm.wasm < dump     prints the line for a text
import { readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";

export async function load(bytes) {
  const { instance } = await WebAssembly.instantiate(bytes, {});
  const { memory, input, capacity, summarize, output } = instance.exports;
  return (text) => {
    // the first call makes the room, and growing makes every view on the memory stale
    const place = input();
    const room = new Uint8Array(memory.buffer, place, capacity());
    const { written } = new TextEncoder().encodeInto(text, room);
    const length = summarize(written);
    return new TextDecoder().decode(new Uint8Array(memory.buffer, output(), length));
  };
}

const host = "a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host";
const reflexive = (foundation, port) =>
  `a=candidate:${foundation} 1 udp 1694498815 203.0.113.7 ${port} typ srflx raddr 192.168.1.5 rport 50000`;
const checks = [
  [[host], "unknown, nothing observed"],
  [[host, reflexive(2, 50000), reflexive(3, 50000)], "NAT of unknown type, port kept, 203.0.113.7, 1 reflexive candidate"],
  [[reflexive(2, 50001), reflexive(3, 50002)], "symmetric NAT, port changed, 203.0.113.7, 2 reflexive candidates differ"],
  [
    ["setLocalDescription", reflexive(2, 50000), "setRemoteDescription", reflexive(2, 50001), reflexive(3, 50002)],
    "this host: NAT of unknown type, port kept, 203.0.113.7, 1 reflexive candidate\n" +
      "peer: symmetric NAT, port changed, 203.0.113.7, 2 reflexive candidates differ",
  ],
  [["v=0", "no candidate here"], ""],
  [["é".repeat(5000000), host], ""],
];

const summarize = await load(await readFile(process.argv[2]));
const text = process.stdin.isTTY || process.argv.includes("--check") ? "" : readFileSync(0, "utf8");
if (text) {
  console.log(summarize(text));
} else {
  for (const [lines, expected] of checks) {
    const line = summarize(lines.join("\r\n"));
    if (line !== expected) {
      console.error(`expected "${expected}", got "${line}"`);
      process.exit(1);
    }
  }
  console.log(`${checks.length} texts judged as expected`);
}
