// The judge of nat-summary for Node and for browsers. `instantiate` takes the bytes of the module;
// `load` finds them beside this file.

/** An instance of the module with these bytes. */
export async function instantiate(bytes) {
  const { instance } = await WebAssembly.instantiate(bytes, {});
  const calls = instance.exports;
  const call = (name, text) => {
    const bytes = new TextEncoder().encode(text);
    const place = calls.reserve(bytes.length);
    if (bytes.length > 0 && place === 0) {
      throw new RangeError(`the text has ${bytes.length} bytes; at most ${calls.max_text()} are read`);
    }
    // a longer text makes the memory grow, and a view on the memory from before is then detached
    new Uint8Array(calls.memory.buffer, place, bytes.length).set(bytes);
    const length = calls[name]();
    const answer = new TextDecoder().decode(new Uint8Array(calls.memory.buffer, calls.output(), length));
    calls.reserve(0);
    return answer;
  };
  return {
    /** The verdict on a text in one line, or in a line for each side; "" without a candidate. */
    summarize: (text) => call("summarize", text),
    /** The verdict on each part of a text, with its evidence. */
    judge: (text) => JSON.parse(call("judge", text)),
    /** The verdict on a gathering: candidates with the URLs of their servers, and errors. */
    judgeGathered(gathering) {
      const answer = JSON.parse(call("judge_gathered", JSON.stringify(gathering)));
      if (answer.error) throw new TypeError(answer.error);
      return answer;
    },
    /** Every word that a verdict may have. */
    vocabulary: () => JSON.parse(call("vocabulary", "")),
  };
}

/** The module beside this file. */
export async function load() {
  const place = new URL("nat_summary_wasm.wasm", import.meta.url);
  if (place.protocol === "file:") {
    const { readFile } = await import("node:fs/promises");
    return instantiate(await readFile(place));
  }
  return instantiate(await (await fetch(place)).arrayBuffer());
}
