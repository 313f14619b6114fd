// Drives the page in headless Chromium, and prints a row for each case:
//
//   node test.mjs PAGE.html [--json]                     every kind of input; pictures beside the page
//   node test.mjs PAGE.html --gather stun:… [stun:…]     a gathering, with these servers, as JSON
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { launch } from "./browser.mjs";

const [file, mode, ...servers] = process.argv.slice(2);
const url = pathToFileURL(file).href;
const browser = await launch();
const rows = [];

/** What the page shows: `local symmetric, remote cone`, or its status where it has no result. */
const SHOWN = `[...document.querySelectorAll("article")].map((card) => card.dataset.side + " " + card.dataset.type).join(", ") || document.getElementById("status").textContent`;
const DONE = `!/^(Judging|Gathering|No result)/.test(document.getElementById("status").textContent)`;

/** One case on a page of its own. It may send no request but that for the page. */
async function row(name, expected, act, at = url) {
  const began = Date.now();
  const faults = [];
  let shown = "";
  try {
    const page = await browser.open(at);
    try {
      shown = (await act(page)) ?? (await page.evaluate(SHOWN));
      faults.push(...page.faults);
      const outside = page.requests.filter((request) => !request.startsWith(url) && !request.startsWith("data:"));
      if (outside.length) faults.push(`requests of ${outside.join(", ")}`);
    } finally {
      await page.close();
    }
  } catch (error) {
    faults.push(error.message);
  }
  const fits = expected instanceof RegExp ? expected.test(shown) : shown === expected;
  if (!fits) faults.push(`${expected} is expected`);
  rows.push({ case: name, shown, seconds: (Date.now() - began) / 1000, faults });
  console.error(`${name}: ${shown} ${faults.join("; ")}`);
}

async function type(page, text) {
  // a text of many megabytes passes in parts
  await page.evaluate(`document.getElementById("text").value = ""`);
  for (let at = 0; at < text.length; at += 1 << 20) {
    await page.evaluate(`document.getElementById("text").value += ${JSON.stringify(text.slice(at, at + (1 << 20)))}`);
  }
  await page.evaluate(`document.getElementById("judge").click()`);
  if (!(await page.until(DONE, 60))) throw new Error("no result in 60 s");
}

const judged = (text) => async (page) => type(page, text);
const data = (name) => readFile(new URL(`../../tests/data/cases/${name}`, import.meta.url), "utf8");
const reflexive = (port, more = "") => `a=candidate:${port} 1 udp 1694498815 203.0.113.7 ${port} typ srflx raddr 192.168.1.5 rport 50000${more}\r\n`;
const SYMMETRIC = reflexive(50001) + reflexive(50002);

async function inputs() {
  await row("a description", "unassigned symmetric", judged(`v=0\r\n${SYMMETRIC}`));
  await row("both sides", "local unknown, remote symmetric", judged(`setLocalDescription\n${reflexive(50000)}setRemoteDescription\n${SYMMETRIC}`));
  await row("a log of Android", "local unknown", judged(await data("c01_android.log")));
  await row("about:webrtc of Firefox", /local \w+/, judged(await data("c02_firefox_about_webrtc.txt")));
  await row("a re-INVITE of FreeSWITCH", /unknown/, judged(await data("c03b_freeswitch_reinvite.log")));
  const stat = (id, port) => ({ id, type: "local-candidate", candidateType: "srflx", protocol: "udp", address: "203.0.113.7", port, relatedAddress: "192.168.1.5", relatedPort: 50000 });
  await row("getStats()", "local symmetric", judged(JSON.stringify([stat("I1", 50001), stat("I2", 50002)])));
  await row("no candidate", "There is no ICE candidate in the text.", judged("hello"));
  await row("nothing", "There is no ICE candidate in the text.", judged(""));
  await row("12 MB, candidates at the end", "unassigned symmetric", judged(`${"x".repeat(99)}\n`.repeat(120_000) + SYMMETRIC));
  await row("100,000 candidates", /unassigned/, judged(Array.from({ length: 100_000 }, (_, at) => reflexive(1024 + (at % 60_000))).join("")));
  const markup = `<img src=x onerror="alert(1)"><script>alert(2)</script>`;
  await row("markup", /unassigned/, judged(`${markup}\r\na=candidate:${markup} 1 udp 1 ${markup} 9 typ host\r\n${reflexive(5, ` ufrag ${markup}`)}\0\u{1F600}`));
  await row("deep brackets", "There is no ICE candidate in the text.", judged("[{".repeat(500_000)));
  await row("the keyboard", "unassigned symmetric", async (page) => {
    await page.evaluate(`document.getElementById("text").focus()`);
    await page.call("Input.insertText", { text: SYMMETRIC });
    await page.key("Tab", 9);
    const focused = await page.evaluate(`document.activeElement.id`);
    if (focused !== "judge") throw new Error(`behind the text comes ${focused}`);
    await page.key("Enter", 13, "\r");
    await page.until(DONE, 20);
  });
  await row("a file", "unassigned symmetric", async (page) => {
    await page.evaluate(`{ const files = new DataTransfer(); files.items.add(new File([${JSON.stringify(SYMMETRIC)}], "dump.txt")); const input = document.getElementById("file"); input.files = files.files; input.dispatchEvent(new Event("change")); }`);
    await page.until(DONE, 20);
  });
  let link = "";
  await row("a link, made", "no address in it", async (page) => {
    await type(page, SYMMETRIC);
    await page.evaluate(`document.getElementById("link").click()`);
    link = await page.evaluate(`document.getElementById("made").textContent`);
    const inside = Buffer.from(link.split("#r=")[1], "base64url").toString();
    return /203|192|5000/.test(inside) ? inside : "no address in it";
  });
  await row("a link, opened", "unassigned symmetric", async () => null, link);
  await row("a link of a stranger", "The link holds no result.", async () => null, `${url}#r=${Buffer.from('[{"side":"<b>","type":"constructor","rule":"x"}]').toString("base64url")}`);
  await row("no server is named", "Name a STUN server first, for instance from the list.", async (page) => {
    await page.evaluate(`document.getElementById("test").click()`);
  });
  await row("http://x is no server", "http://x is no STUN server: stun:host:port is expected.", async (page) => {
    await page.evaluate(`document.getElementById("servers").value = "http://x"; document.getElementById("test").click()`);
  });
  await row("names for everything", "every control and every picture has one", async (page) => {
    const { nodes } = await page.call("Accessibility.getFullAXTree");
    await type(page, SYMMETRIC);
    const after = (await page.call("Accessibility.getFullAXTree")).nodes;
    const wanted = new Set(["button", "textbox", "combobox", "image", "region", "heading"]);
    const nameless = [...nodes, ...after].filter((node) => !node.ignored && wanted.has(node.role?.value) && !node.name?.value);
    return nameless.length ? nameless.map((node) => node.role.value).join(", ") : "every control and every picture has one";
  });
  await row("pictures", "4 pictures", async (page) => {
    const folder = dirname(file);
    await writeFile(join(folder, "empty-light.png"), await page.picture(900, 900, "light"));
    await type(page, `setLocalDescription\n${reflexive(50000)}setRemoteDescription\n${SYMMETRIC}`);
    await writeFile(join(folder, "result-light.png"), await page.picture(900, 900, "light"));
    await writeFile(join(folder, "result-dark.png"), await page.picture(900, 900, "dark"));
    await writeFile(join(folder, "result-phone.png"), await page.picture(390, 844, "light"));
    const isWide = await page.evaluate(`document.documentElement.scrollWidth > innerWidth`);
    return isWide ? "wider than a phone" : "4 pictures";
  });
}

async function gathering() {
  await row("a gathering", /^local \w+ [\w -]+$/, async (page) => {
    await page.evaluate(`document.getElementById("servers").value = ${JSON.stringify(servers.join("\n"))}; document.getElementById("test").click()`);
    if (!(await page.until(DONE, 60))) throw new Error("no result in 60 s");
    return page.evaluate(`[...document.querySelectorAll("article")].map((card) => [card.dataset.side, card.dataset.type, card.dataset.mapping].join(" ")).join(", ")`);
  });
}

try {
  await (mode === "--gather" ? gathering() : inputs());
} finally {
  await browser.close();
}
const passed = rows.every(({ faults }) => faults.length === 0);
if (mode === "--gather") {
  console.log(JSON.stringify(rows));
} else if (mode === "--json") {
  console.log(JSON.stringify({ passed, rows }, null, 2));
} else {
  const cells = rows.map(({ case: name, shown, seconds, faults }) => [name, shown, seconds.toFixed(1), faults.length ? `FAILED: ${faults.join("; ")}` : "passed"]);
  const heads = ["input", "the page shows", "s", ""];
  const widths = heads.map((head, at) => Math.max(...[heads, ...cells].map((row) => row[at].length)));
  const line = (row) => row.map((cell, at) => cell.padEnd(widths[at])).join("  ").trimEnd();
  console.log([line(heads), line(widths.map((width) => "-".repeat(width))), ...cells.map(line)].join("\n"));
}
process.exitCode = passed ? 0 : 1;
