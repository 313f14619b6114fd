// A headless Chromium, driven over two pipes by the DevTools protocol.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-pipe",
];

export async function launch() {
  const profile = await mkdtemp(join(tmpdir(), "page-"));
  const child = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const waiting = new Map();
  const listeners = new Set();
  let [number, rest] = [0, ""];
  child.stdio[4].setEncoding("utf8");
  child.stdio[4].on("data", (data) => {
    const messages = (rest + data).split("\0");
    rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const answer = waiting.get(message.id);
      waiting.delete(message.id);
      if (answer && message.error) answer.reject(new Error(message.error.message));
      else if (answer) answer.resolve(message.result);
      else for (const listener of listeners) listener(message);
    }
  });
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      number += 1;
      waiting.set(number, { resolve, reject });
      child.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
    });
  const gone = new Promise((_, reject) => child.once("exit", (code) => reject(new Error(`chromium ended with ${code}`))));
  gone.catch(() => {});
  return {
    /** A page at this URL: `evaluate` runs an expression in it, `requests` are those that it made, `faults` its errors. */
    async open(url) {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const page = { requests: [], faults: [] };
      const listener = ({ method, params, sessionId: from }) => {
        if (from !== sessionId) return;
        if (method === "Network.requestWillBeSent") page.requests.push(params.request.url);
        if (method === "Runtime.exceptionThrown") page.faults.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        if (method === "Page.javascriptDialogOpening") page.faults.push("a dialog opened");
        if (method === "Log.entryAdded" && params.entry.level === "error") page.faults.push(params.entry.text);
      };
      listeners.add(listener);
      const call = (method, params) => Promise.race([send(method, params, sessionId), gone]);
      for (const domain of ["Network", "Runtime", "Page", "Log"]) await call(`${domain}.enable`);
      page.call = call;
      page.evaluate = async (expression) => {
        const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
      };
      page.until = async (expression, seconds) => {
        const end = Date.now() + seconds * 1000;
        while (Date.now() < end) {
          if (await page.evaluate(expression)) return true;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return false;
      };
      page.key = async (key, code, text) => {
        const event = { key, code: key, windowsVirtualKeyCode: code, text };
        await call("Input.dispatchKeyEvent", { type: "keyDown", ...event });
        await call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
      };
      page.picture = async (width, height, scheme) => {
        await call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
        await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
        const { data } = await call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
        return Buffer.from(data, "base64");
      };
      page.close = async () => {
        listeners.delete(listener);
        await send("Target.closeTarget", { targetId });
      };
      await call("Page.navigate", { url });
      if (!(await page.until("document.documentElement?.dataset.ready === 'yes'", 20))) throw new Error("the page did not start");
      return page;
    },
    async close() {
      child.kill("SIGKILL");
      await new Promise((resolve) => (child.exitCode === null && child.signalCode === null ? child.once("exit", resolve) : resolve()));
      await rm(profile, { recursive: true, force: true });
    },
  };
}
