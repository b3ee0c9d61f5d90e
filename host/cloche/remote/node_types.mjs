// TypeScript for `node_worker.mjs`: how Node.js finds and reads its files. Types are blanked by cloche's compiler, which is JavaScript
// (lines and columns stay), and what is marked "use step" at the top of a file is registered under the id that compilers give it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, relative, resolve as resolved, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPED = /\.[cm]?ts$/;
const ENDINGS = [".ts", ".mts", ".js", ".mjs", "/index.ts"];
const WORKFLOW = "cloche:workflow";
let compile, project;

/** @param {{compiler: string, file: string}} given the file of the compiler, and that of the steps. */
export async function initialize({ compiler, file }) {
  project = projectOf(file);
  const text = readFileSync(compiler).toString("base64");
  ({ default: compile } = await import(`data:text/javascript;base64,${text}`));
}

/** As Node.js does; and of what is not there, as TypeScript does. */
export async function resolve(name, context, next) {
  try {
    return await next(name, context);
  } catch (error) {
    if (name === "workflow" || name.startsWith("workflow/") || name.startsWith("@workflow/")) return { url: WORKFLOW, shortCircuit: true };
    for (const end of /^[./]/.test(name) ? ENDINGS : []) {
      try {
        return await next(name.replace(/\.[cm]?js$/, "") + end, context);
      } catch {} // the next one
    }
    throw error;
  }
}

export async function load(url, context, next) {
  if (url === WORKFLOW) return { format: "module", source: WORDS, shortCircuit: true };
  if (!url.startsWith("file:") || !TYPED.test(new URL(url).pathname)) return next(url, context);
  const file = fileURLToPath(url);
  const path = relative(project, file).split(sep).join("/");
  const id = `./${path.replace(TYPED, "")}`;
  const { source, steps, problems } = await compile({ path, id, text: readFileSync(file, "utf8"), forSteps: true });
  if (problems) throw new SyntaxError(problems.map((one) => `${one.file}:${one.line}:${one.column}: ${one.message}`).join("\n"));
  const known = 'globalThis[Symbol.for("@workflow/core//registeredSteps")] ??= new Map()';
  const registered = steps.map((name) => `(${known}).set(${JSON.stringify(`step//${id}//${name}`)}, ${name});`);
  return { format: "module", source: `${source}\n;${registered.join(" ")}`, shortCircuit: true };
}

/** The folder that ids of steps are named from: the next one around the file that has a package.json, else its own. */
function projectOf(file) {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (existsSync(resolved(folder, "package.json"))) return folder;
    if (dirname(folder) === folder) return dirname(file);
  }
}

// What a step may import from "workflow", where the SDK is not installed.
const WORDS = `
const store = globalThis[Symbol.for("WORKFLOW_STEP_CONTEXT_STORAGE")];
const here = () => {
  const found = store.getStore();
  if (found === undefined) throw new Error("this is for steps: no step runs here");
  return found;
};
const named = (Kind, name, more) => Object.defineProperty(Kind, "is", { value: (error) => error instanceof Error && error.name === name });
export class FatalError extends Error { name = "FatalError"; fatal = true; }
export class RetryableError extends Error {
  name = "RetryableError";
  constructor(message, { retryAfter = 1000 } = {}) {
    super(message);
    this.retryAfter = retryAfter instanceof Date ? retryAfter : new Date(Date.now() + msOf(retryAfter));
  }
}
named(FatalError, "FatalError");
named(RetryableError, "RetryableError");
const UNITS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 };
const msOf = (given) => {
  if (typeof given === "number") return given;
  const found = /^\\s*(\\d*\\.?\\d+)\\s*(ms|s|m|h|d|w)?/i.exec(given);
  if (!found) throw new TypeError("a time is \\"3 days\\", or milliseconds");
  return found[1] * UNITS[(found[2] ?? "ms").toLowerCase()];
};
export const getStepMetadata = () => here().stepMetadata;
export const getWorkflowMetadata = () => here().workflowMetadata;
export const getWritable = ({ namespace } = {}) => {
  const { writables, workflowMetadata } = here();
  const own = \`strm_\${workflowMetadata.workflowRunId.replace(/^wrun_/, "")}_user\`;
  return writables.get(namespace === undefined ? own : \`\${own}_\${Buffer.from(namespace).toString("base64url")}\`).writable;
};
export const fetch = globalThis.fetch;
const inWorkflows = (name) => () => { throw new Error(name + " is for workflow functions, not for steps"); };
export const [sleep, createHook, createWebhook, start, getRun] = ["sleep", "createHook", "createWebhook", "start", "getRun"].map(inWorkflows);
export const defineHook = () => ({ create: inWorkflows("a hook"), resume: inWorkflows("a hook") });
`;
