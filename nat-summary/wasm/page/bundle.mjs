// Makes the page and the package from their parts, without any other tool:
//
//   node bundle.mjs MODULE.wasm FOLDER
//
// The page is one file, because a browser loads no scripts beside a page of `file://`.
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";

const [module, folder] = process.argv.slice(2);
const part = (name) => readFile(new URL(name, import.meta.url), "utf8");
const script = async (name) => (await part(name)).replaceAll(/^export /gm, "");

const style = await part("style.css");
const bytes = await readFile(module);
const scripts = [
  // the page has the module in it, and loads nothing
  (await script("../nat-summary.mjs")).replace(/\/\*\* The module beside this file\. \*\/[\s\S]*$/, ""),
  await script("words.mjs"),
  `const MODULE = "${bytes.toString("base64")}";`,
  await script("page.mjs"),
];
const page = (await part("template.html"))
  .replace("/*STYLE*/", () => `\n${style}`)
  .replace("/*SCRIPT*/", () => `\n"use strict";\n${scripts.join("\n")}`);
await mkdir(`${folder}/npm`, { recursive: true });
await writeFile(`${folder}/index.html`, page);
for (const name of ["nat-summary.mjs", "nat-summary.d.ts", "package.json"]) {
  await copyFile(new URL(`../${name}`, import.meta.url), `${folder}/npm/${name}`);
}
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) {
  await copyFile(new URL(`../../${name}`, import.meta.url), `${folder}/npm/${name}`);
}
await copyFile(module, `${folder}/npm/nat_summary_wasm.wasm`);
