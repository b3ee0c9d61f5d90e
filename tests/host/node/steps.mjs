// Steps on Node, as an author writes them: exported functions, and what a compiled bundle registers.
import { existsSync, writeFileSync } from "node:fs";

export async function add(a, b) {
  "use step";
  return a + b;
}
export async function createAccount(order) {
  return { account: `account of ${order.id}`, node: process.versions.node.split(".").length };
}
export async function grown(n) {
  return n + 3;
}
export async function fails(message) {
  throw Object.assign(new RangeError(message), { limit: 3, cause: new TypeError("because") });
}
export async function flaky(file) {
  "use step";
  const { attempt } = globalThis[Symbol.for("cloche.step")]();
  if (attempt < 3) throw new Error(`attempt ${attempt}`);
  return attempt;
}
export async function never(input) {
  const error = new Error("no");
  error.fatal = true;
  throw error;
}
never.maxRetries = 5;
export async function dies(file) {
  if (!existsSync(file)) {
    writeFileSync(file, "it was here");
    process.kill(process.pid, "SIGKILL");
    await new Promise(() => {});
  }
  return "alive";
}
export async function waits(file) {
  const { signal } = globalThis[Symbol.for("cloche.step")]();
  writeFileSync(`${file}.begun`, "");
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  writeFileSync(file, "aborted");
}
export function spins() {
  for (;;);
}
export async function kinds() {
  return { map: new Map([["a", new Set([1])]]), when: new Date(0), big: 2n ** 70n, none: [undefined], bytes: new Uint8Array([1]) };
}
export async function writes(lines) {
  const { write } = globalThis[Symbol.for("cloche.step")]();
  for (const line of lines) write({ line });
}
export async function pid() {
  return process.pid;
}

const registered = (globalThis[Symbol.for("@workflow/core//registeredSteps")] ??= new Map());
registered.set("step//./flow//echo", async (value) => value);
registered.set("step//./flow//countTo", async (n) =>
  new ReadableStream({
    start(controller) {
      for (let i = 1; i <= n; i++) controller.enqueue({ i, bytes: new Uint8Array([i]) });
      controller.close();
    },
  }));
registered.set("step//./flow//readAll", async (stream) => {
  const all = [];
  for await (const one of stream) all.push(one);
  return all;
});
registered.set("step//./flow//say", async (writable, text) => {
  const writer = writable.getWriter();
  await writer.write(text);
  await writer.close();
});
registered.set("step//./flow//untilAborted", async (signal) =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(`aborted: ${signal.reason}`))));
registered.set("step//./flow//abortAfter", async (controller, reason) => {
  await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort(reason);
});
registered.set("step//./flow//writeOwn", async (lines) => {
  // As the SDK's getWritable() looks for it in a step: once for each line, and never closed.
  const { writables, workflowMetadata } = globalThis[Symbol.for("WORKFLOW_STEP_CONTEXT_STORAGE")].getStore();
  for (const line of lines) {
    const writer = writables.get(`strm_${workflowMetadata.workflowRunId.replace("wrun_", "")}_user`).writable.getWriter();
    await writer.write(line);
    writer.releaseLock();
  }
});
registered.set("step//./flow//writeFramed", async (texts) => {
  // As the SDK's getWritable() of 4.x does: each value is flattened, and framed with its length.
  const world = globalThis[Symbol.for("@workflow/world//cache")];
  const { workflowMetadata } = globalThis[Symbol.for("WORKFLOW_STEP_CONTEXT_STORAGE")].getStore();
  const run = workflowMetadata.workflowRunId;
  const name = `${run.replace("wrun_", "strm_")}_user`;
  const framed = (text) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(text.length + 4);
    return Buffer.concat([size, Buffer.from(`devl${text}`)]);
  };
  await world.writeToStreamMulti(name, run, [Buffer.concat(texts.slice(1).map(framed)), framed(texts[0])]);
  await world.closeStream(name, run);
});
registered.set("step//./flow//scaled", async function (by) {
  return this.x * by;
});
registered.set("step//./flow//main/add", async (n) => {
  const { closureVars } = globalThis[Symbol.for("WORKFLOW_STEP_CONTEXT_STORAGE")].getStore();
  return n + closureVars.offset;
});
