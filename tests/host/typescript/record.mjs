// What the published plugin makes of each file of a folder, as JSON: ids, and the names that closures take along.
// usage: node record.mjs NODE_MODULES FOLDER FILE…
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [modules, folder, ...files] = process.argv.slice(2);
const { transform } = createRequire(join(modules, "x.js"))("@swc/core");
const plugin = join(modules, "node_modules/@workflow/swc-plugin/swc_plugin_workflow.wasm");
process.chdir(folder);
const recorded = {};
for (const file of files) {
  const parser = file.endsWith(".js") ? { syntax: "ecmascript" } : { syntax: "typescript" };
  const jsc = { parser, target: "es2022", experimental: { plugins: [[plugin, { mode: "workflow" }]] } };
  const { code } = await transform(readFileSync(file, "utf8"), { filename: file, swcrc: false, jsc });
  const all = (pattern) => [...new Set([...code.matchAll(pattern)].map((found) => found[1]))].sort();
  // What it leaves out of the code, as nothing reads it, stands in its manifest; not all that is in the code does.
  const manifest = /__internal_workflows(\{.*?\})\*\//.exec(code)?.[1] ?? "";
  const known = (word, kind) => [...manifest.matchAll(new RegExp(`"${word}":"(${kind}//[^"]+)"`, "g"))].map((found) => found[1]);
  const sorted = (...lists) => [...new Set(lists.flat())].sort();
  const closures = {};
  for (const [, id, names] of code.matchAll(/"(step\/\/[^"]+)", ?\(\)=>\(\{([^}]*)\}\)/g)) closures[id] = names.split(",").map((one) => one.trim()).sort();
  recorded[file] = {
    workflows: sorted(all(/__private_workflows\.set\("([^"]+)"/g), known("workflowId", "workflow")),
    steps: sorted(all(/"WORKFLOW_USE_STEP"\)\]\("([^"]+)"/g), known("stepId", "step")),
    classes: all(/"(class\/\/[^"]+)"/g),
    closures,
  };
}
console.log(JSON.stringify(recorded, undefined, 1));
