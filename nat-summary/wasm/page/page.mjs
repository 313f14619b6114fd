// The page: text or a gathering in, verdicts out. `instantiate`, the sentences and the bytes of the
// module come before this script.

const find = (id) => document.getElementById(id);

/** An element with attributes, and with text or elements in it. Text never becomes markup. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "text", "path", "title", "g"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const yesNo = (value) => (value === null || value === undefined ? "not known" : value ? "yes" : "no");

function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", { class: "mono" }, String(cell)))));
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {}, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

/** Host, NAT and servers of one part. */
function diagram(part) {
  const natted = part.legacy.nat_is_natted;
  const external = part.legacy.nat_external_ip;
  const mappings = [...new Set((part.evidence.observations ?? []).map((seen) => seen.mapped))];
  const shown = mappings.slice(0, 4);
  const height = Math.max(130, 30 + 44 * Math.max(1, shown.length));
  const middle = height / 2;
  const label = natted === false ? "no NAT" : natted === true ? "NAT" : "NAT?";
  const box = (x, y, width, text, more, dashed) => [
    make("rect", { class: dashed ? "box hidden" : "box", x, y: y - 20, width, height: 40, rx: 6 }),
    make("text", { x: x + width / 2, y: more ? y - 3 : y + 5, "text-anchor": "middle" }, text),
    ...(more ? [make("text", { x: x + width / 2, y: y + 13, "text-anchor": "middle" }, more)] : []),
  ];
  const wires = shown.map((_, at) => {
    const y = (height / (shown.length + 1)) * (at + 1);
    return make("path", { class: "wire", d: `M 380 ${middle} C 440 ${middle} 440 ${y} 480 ${y}` });
  });
  const seen = shown.flatMap((mapped, at) => box(480, (height / (shown.length + 1)) * (at + 1), 220, "seen at", mapped));
  const says = `${SIDES[part.side]}: ${label}${external ? `, external address ${external}` : ""}; ${mappings.length} different mappings seen.`;
  return make("svg", { viewBox: `0 0 720 ${height}`, role: "img", "aria-label": says },
    make("path", { class: "wire", d: `M 190 ${middle} H 250` }), ...wires,
    ...box(20, middle, 170, SIDES[part.side], (part.evidence.locals ?? [])[0] ?? "", false),
    ...box(250, middle, 130, label, external ?? "", natted !== true),
    ...(shown.length ? seen : box(480, middle, 220, "no server's answer", "", true)));
}

function card(part, number) {
  const { legacy, evidence } = part;
  const isDependent = part.type === "unknown" && / dependent$/.test(legacy.nat_mapping_behavior);
  const [name, meaning] = isDependent ? DEPENDENT : (TYPES[part.type] ?? [part.type, ""]);
  const title = part.side === "unassigned" ? `${SIDES.unassigned} ${number}` : SIDES[part.side];
  const verdict = [
    ["behind a NAT", yesNo(legacy.nat_is_natted)],
    ["external address", legacy.nat_external_ip ?? "not known"],
    ["mapping", legacy.nat_mapping_behavior],
    ["filtering", legacy.nat_filtering_behavior],
    ["port kept", yesNo(legacy.nat_port_preservation)],
    ["rule", part.rule],
  ];
  const observations = (evidence.observations ?? []).map((seen) => [seen.base, seen.server, seen.mapped]);
  const servers = (evidence.servers ?? []).map((asked) => (Array.isArray(asked) ? asked : [asked.server, asked.outcome]));
  const more = [table(`Verdict, ${title}`, ["", ""], verdict)];
  if (observations.length) more.push(table(`Observations, ${title}`, ["socket", "server", "seen at"], observations));
  if (servers.length) more.push(table(`Servers, ${title}`, ["server", "outcome"], servers));
  return make("article", { class: `card ${part.type}`, "data-type": part.type, "data-side": part.side, "data-rule": part.rule, "data-mapping": legacy.nat_mapping_behavior },
    make("p", { class: "dim" }, title), make("h3", {}, name), make("p", {}, meaning),
    make("p", {}, make("strong", {}, "Because: "), RULES[part.rule] ?? part.rule),
    make("div", { class: "wide" }, diagram(part)),
    make("details", { open: "" }, make("summary", {}, "Evidence"), ...more));
}

let last = null;

function say(text, isError = false) {
  find("status").textContent = text;
  find("status").className = isError ? "error" : "dim";
}

function show(judged, source) {
  last = judged;
  find("made").textContent = "";
  let number = 0;
  const cards = judged.parts.map((part) => card(part, part.side === "unassigned" ? ++number : 0));
  find("results").replaceChildren(...cards);
  find("after").hidden = cards.length === 0;
  const left = judged.left_out ? ` ${judged.left_out} more candidates belong to further descriptions, which are not shown.` : "";
  const count = cards.length === 1 ? "One result" : `${cards.length} results`;
  say(cards.length ? `${count} from ${source}.${left}` : `There is no ICE candidate in ${source}.`, cards.length === 0);
}

/** Results that are shared hold words and counts, and no address. */
function redacted(judged) {
  const parts = judged.parts.map(({ side, type, rule, legacy, evidence }) => ({
    side, type, rule,
    natted: legacy.nat_is_natted, mapping: legacy.nat_mapping_behavior, filtering: legacy.nat_filtering_behavior,
    port: legacy.nat_port_preservation, observations: (evidence.observations ?? []).length,
  }));
  return btoa(JSON.stringify(parts)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A shared result; anything else is refused. */
function shared(text) {
  const parts = JSON.parse(atob(text.replaceAll("-", "+").replaceAll("_", "/")));
  if (!Array.isArray(parts) || parts.length > 16) throw new TypeError("no result");
  return parts.map((part) => {
    if (!TYPES[part.type] || !RULES[part.rule] || !SIDES[part.side]) throw new TypeError("no result");
    const word = (value) => (typeof value === "string" ? value.slice(0, 40) : "unspecified");
    const flag = (value) => (typeof value === "boolean" ? value : null);
    return {
      side: part.side, type: part.type, rule: part.rule, evidence: {},
      legacy: {
        nat_is_natted: flag(part.natted), nat_mapping_behavior: word(part.mapping), nat_filtering_behavior: word(part.filtering),
        nat_port_preservation: flag(part.port), nat_type: part.type, nat_external_ip: null,
      },
    };
  });
}

async function judgeText(judge, text, source) {
  say("Judging …");
  // the line above is painted first, because a text of many megabytes takes seconds
  await new Promise((resolve) => setTimeout(resolve, 20));
  try {
    show(judge.judge(text), source);
  } catch (error) {
    find("results").replaceChildren();
    say(error.message, true);
  }
}

async function readFile(judge, file) {
  if (file.size > 256 * 1024 * 1024) {
    say(`${file.name} has ${Math.round(file.size / 1048576)} MiB; at most 256 MiB are read.`, true);
    return;
  }
  await judgeText(judge, await file.text(), file.name);
}

/** What is wrong with the list of servers, or the list. */
function servers() {
  const lines = find("servers").value.split(/[\s,]+/).filter(Boolean);
  const wrong = lines.find((line) => !/^stun:(\[[0-9a-fA-F:.]+\]|[^\s/?#@:]+)(:\d{1,5})?$/.test(line));
  if (wrong) throw new TypeError(`${wrong} is no STUN server: stun:host:port is expected.`);
  if (lines.length === 0) throw new TypeError("Name a STUN server first, for instance from the list.");
  if (lines.length > 8) throw new TypeError("At most eight servers are asked.");
  return lines;
}

let running = null;

function gather(judge) {
  let urls;
  try {
    urls = servers();
  } catch (error) {
    say(error.message, true);
    return;
  }
  const gathering = { candidates: [], errors: [], asked: urls.length, complete: false };
  const peer = new RTCPeerConnection({ iceServers: urls.map((url) => ({ urls: url })) });
  const began = performance.now();
  const end = (complete) => {
    if (running?.peer !== peer) return;
    running = null;
    clearInterval(timer);
    peer.close();
    find("test").disabled = false;
    find("stop").disabled = true;
    gathering.complete = complete;
    show(judge.judgeGathered(gathering), "this browser's gathering");
    const note = `${gathering.candidates.length} candidates, ${gathering.errors.length} servers without an answer, ${((performance.now() - began) / 1000).toFixed(1)} s.`;
    say(`${find("status").textContent} ${note}${complete ? "" : " Stopped before the end: silence proves nothing."}`);
  };
  const timer = setInterval(() => say(`Gathering: ${gathering.candidates.length} candidates after ${Math.round((performance.now() - began) / 1000)} s. A silent server takes up to 40 s.`), 1000);
  running = { peer, end };
  find("test").disabled = true;
  find("stop").disabled = false;
  say("Gathering …");
  peer.onicecandidate = ({ candidate }) => {
    if (candidate === null) end(true);
    else if (candidate.candidate) gathering.candidates.push({ candidate: candidate.candidate, url: candidate.url ?? null });
  };
  peer.onicecandidateerror = ({ url, errorCode, errorText }) => gathering.errors.push({ url, code: errorCode, text: errorText ?? "" });
  peer.createDataChannel("test");
  peer.setLocalDescription().catch((error) => {
    say(error.message, true);
    end(false);
  });
}

async function main() {
  const judge = await instantiate(Uint8Array.from(atob(MODULE), (byte) => byte.charCodeAt(0)));
  const text = find("text");
  find("judge").onclick = () => judgeText(judge, text.value, "the text");
  find("clear").onclick = () => {
    text.value = "";
    find("results").replaceChildren();
    find("after").hidden = true;
    say("No result yet.");
    text.focus();
  };
  find("file").onchange = ({ target }) => target.files[0] && readFile(judge, target.files[0]);
  document.querySelector(".file").onkeydown = (event) => {
    if (event.key === "Enter" || event.key === " ") find("file").click();
  };
  text.onpaste = () => setTimeout(() => judgeText(judge, text.value, "the text"));
  document.ondragover = (event) => {
    event.preventDefault();
    text.classList.add("over");
  };
  document.ondragleave = () => text.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    text.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) readFile(judge, file);
    else judgeText(judge, (text.value = event.dataTransfer.getData("text")), "the text");
  };
  find("list").onchange = ({ target }) => {
    const box = find("servers");
    if (target.value && !box.value.split(/\s+/).includes(target.value)) box.value = `${box.value.trim()}\n${target.value}`.trim();
    target.value = "";
  };
  find("test").onclick = () => gather(judge);
  find("stop").onclick = () => running?.end(false);
  find("link").onclick = () => {
    const link = `${location.href.split("#")[0]}#r=${redacted(last)}`;
    find("made").textContent = link;
    navigator.clipboard?.writeText(link).catch(() => {});
  };
  if (location.hash.startsWith("#r=")) {
    try {
      show({ parts: shared(location.hash.slice(3)), left_out: 0 }, "a link, which holds no addresses");
    } catch {
      say("The link holds no result.", true);
    }
  }
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => say(`The judge did not start: ${error.message}`, true));
