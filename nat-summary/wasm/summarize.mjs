// The module's check under Node, and a program for a terminal.
//
//   node summarize.mjs nat_summary_wasm.wasm --check    runs the check below
//   node summarize.mjs nat_summary_wasm.wasm < dump     prints the line for a text
import { readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";

import { instantiate } from "./nat-summary.mjs";
import { RULES, SIDES, TYPES } from "./page/words.mjs";

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
  [["é".repeat(5000000), host], "unknown, nothing observed"],
];

function expect(found, expected) {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    console.error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(found)}`);
    process.exit(1);
  }
}

const judge = await instantiate(await readFile(process.argv[2]));
if (process.argv.includes("--check")) {
  for (const [lines, expected] of checks) expect(judge.summarize(lines.join("\r\n")), expected);
  // values of a program's own gathering are a server each, lines of a text are not
  const gathered = (...urls) => ({
    candidates: urls.map((url, at) => ({ candidate: reflexive(at + 2, 50000).slice(2), url })), asked: urls.length, complete: true,
  });
  const types = ({ parts }) => parts.map((part) => [part.side, part.type, part.rule]);
  expect(types(judge.judgeGathered(gathered("stun:198.51.100.1:3478", "stun:198.51.100.2:3478"))), [["local", "cone", "servers_agree"]]);
  expect(types(judge.judgeGathered(gathered("stun:198.51.100.1:3478"))), [["local", "unknown", "too_few_servers"]]);
  // a browser hides the address and the port of the base; the host candidate with the same local preference has the port
  const hidden = (port, priority) => ({ candidate: `candidate:7 1 udp ${priority} 203.0.113.7 ${port} typ srflx raddr 0.0.0.0 rport 0`, url: `stun:198.51.100.${port}:3478` });
  const mapping = (hosts, ...more) => judge.judgeGathered({ candidates: [...hosts.map((candidate) => ({ candidate })), ...more], asked: 2, complete: true }).parts[0].legacy.nat_mapping_behavior;
  const named = (priority, port) => `candidate:1 1 udp ${priority} 1743fa03-3087-497d-b48c-e20f14c66091.local ${port} typ host`;
  expect(mapping([named(2113937151, 5), named(2113939711, 6)], hidden(1, 1677729535), hidden(2, 1677729535)), "address-port dependent");
  expect(mapping([named(2113937151, 5), named(2113937151, 6)], hidden(1, 1677729535), hidden(2, 1677729535)), "unspecified");
  expect(mapping([named(2113939711, 6)], hidden(1, 1677729535), hidden(2, 1677729535)), "unspecified");
  expect(types(judge.judgeGathered({ candidates: [] })), [["local", "unknown", "nothing_observed"]]);
  expect(types(judge.judge([reflexive(2, 50001), reflexive(3, 50002)].join("\n"))), [["unassigned", "symmetric", "servers_differ"]]);
  // the page has a sentence for every word, and none that the judge does not use
  const { types: every, rules } = judge.vocabulary();
  expect(Object.keys(TYPES).sort(), every.sort());
  expect(Object.keys(RULES).sort(), rules.sort());
  expect(Object.keys(SIDES).sort(), ["local", "remote", "unassigned"]);
} else {
  console.log(judge.summarize(readFileSync(0, "utf8")));
}
