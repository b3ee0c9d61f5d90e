// Bundles each of the programs as docs/javascript.md says to: `node bundle.mjs PROGRAMS MODULES OUT`.
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const [programs, modules, out] = process.argv.slice(2);
const esbuild = createRequire(join(modules, "x"))("esbuild");
const failed = {};
for (const file of readdirSync(programs).sort()) {
  const options = { bundle: true, format: "esm", platform: "browser", logLevel: "silent", nodePaths: [modules] };
  try {
    await esbuild.build({ ...options, entryPoints: [join(programs, file)], outfile: join(out, file) });
  } catch (error) {
    failed[file] = error.message;
  }
}
process.stdout.write(JSON.stringify(failed));
