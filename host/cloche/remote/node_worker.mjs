// Performs step functions of one file for cloche, which owns the log.
//
//   node node_worker.mjs FILE FD: for the process that has started this one. FD is a socket that it inherits: JSON messages, one
//     a line. In: {id, step, args, this?, closure?, meta}, {abort: id}, {signal: name, run, reason}, {read: n, chunks, closed,
//     at}, {ping: n}. Out: {ready, steps} | {id, value | error}, {id, stream, chunk | closed}, {id, read: n, stream, run?, from},
//     {id, aborted: name, reason}, {pong: n}. It ends when the socket does.
//   node node_worker.mjs FILE URL: as a worker of the protocol in docs/operations/remote-steps.md, with the token in CLOCHE_TOKEN.
//     At SIGTERM it ends what it has begun. It needs the other files of its folder beside it.
import { AsyncLocalStorage } from "node:async_hooks";
import { register } from "node:module";
import { Socket } from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { worldOf } from "./node_world.mjs";

const S = Symbol.for;
const STREAM = S("WORKFLOW_STREAM_NAME");
const STEPS = S("@workflow/core//registeredSteps");
const FETCH = "step//./workflow/dist/stdlib//fetch";
const RETRIES = 3; // of a "use step" function that says nothing
const contexts = (globalThis[S("WORKFLOW_STEP_CONTEXT_STORAGE")] ??= new AsyncLocalStorage());
const classes = () => globalThis[S("workflow-class-registry")] ?? new Map();
const RUN = Symbol("run"); // of a stream that another run writes
const BY_HOST = Symbol("aborts without telling");
const [LOOKS_MS, LOOKS_MS_MAX, WATCHES_MS] = [100, 2_000, 1_000]; // how often a server is asked what its run has written, and aborted
const signals = new Map(); // run + name -> AbortControllers that live steps hold

// ── values: what JSON has no word for travels as {"~": kind, …} ────────────────────────────────────────────────────
const base64 = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const bytesForm = (bytes) => ({ "~": "bytes", base64: base64(bytes) });
const body = (form, message, pending) => {
  if (message.body === null) return form;
  pending.push(message.clone().arrayBuffer().then((bytes) => void (form.body = bytesForm(new Uint8Array(bytes)))));
  return form;
};
const blobForm = (form, blob, pending) => {
  pending.push(blob.arrayBuffer().then((bytes) => void (form.bytes = bytesForm(new Uint8Array(bytes)))));
  return form;
};

const packer = (call, pending) => {
  let streams = 0;
  const ofFunction = (v) => {
    for (const [kind, key] of [["step", "stepId"], ["workflow", "workflowId"], ["class", "classId"]]) {
      if (typeof v[key] === "string") return { "~": kind, id: v[key] };
    }
    throw new TypeError(`a step cannot give the function ${v.name || "(anonymous)"} to its workflow`);
  };
  const stream = (readable) => {
    const name = `strm_${call.meta.key}_${++streams}`;
    pending.push((async () => {
      for await (const chunk of readable) await call.say({ stream: name, chunk: pack(chunk) });
      await call.say({ stream: name, closed: true });
    })());
    return { "~": "stream", name, mode: "readable" };
  };
  const ofSignal = (kind, v) => ({ "~": kind, id: "", aborted: v.aborted, ...(v.aborted && { reason: pack(v.reason) }) });
  const ofWeb = (v) => {
    if (v instanceof Headers) return { "~": "headers", entries: [...v] };
    if (v instanceof URL) return { "~": "url", href: v.href };
    if (v instanceof URLSearchParams) return { "~": "params", text: String(v) };
    if (v instanceof Response) {
      const form = { "~": "response", status: v.status, statusText: v.statusText, url: v.url, headers: [...v.headers] };
      return body(form, v, pending);
    }
    if (v instanceof Request) return body({ "~": "request", method: v.method, url: v.url, headers: [...v.headers] }, v, pending);
    if (typeof File !== "undefined" && v instanceof File) {
      return blobForm({ "~": "file", name: v.name, type: v.type, lastModified: v.lastModified }, v, pending);
    }
    if (v instanceof Blob) return blobForm({ "~": "blob", type: v.type }, v, pending);
    if (v instanceof FormData) return { "~": "form", entries: [...v].map(([name, one]) => [name, pack(one)]) };
    return undefined;
  };
  const pack = (v) => {
    if (v === undefined) return { "~": "undefined" };
    if (typeof v === "bigint") return { "~": "bigint", digits: String(v) };
    if (typeof v === "number") return Number.isFinite(v) && !Object.is(v, -0) ? v : { "~": "number", text: Object.is(v, -0) ? "-0.0" : String(v) };
    if (typeof v === "function") return ofFunction(v);
    if (typeof v === "symbol") throw new TypeError("a step cannot give a symbol to its workflow");
    if (typeof v !== "object" || v === null) return v;
    if (Array.isArray(v)) return Array.from(v, pack);
    if (typeof v[STREAM] === "string") {
      return { "~": "stream", name: v[STREAM], mode: v instanceof ReadableStream ? "readable" : "writable", ...(v[RUN] && { run: v[RUN] }) };
    }
    if (v instanceof Date) return isNaN(v) ? { "~": "date" } : { "~": "date", iso: v.toISOString() };
    if (v instanceof Uint8Array) return bytesForm(v);
    if (v instanceof ArrayBuffer) return { "~": "buffer", bytes: bytesForm(new Uint8Array(v)) };
    if (ArrayBuffer.isView(v)) {
      return { "~": "view", kind: v.constructor.name, bytes: bytesForm(new Uint8Array(v.buffer, v.byteOffset, v.byteLength)) };
    }
    if (v instanceof Map) return { "~": "map", entries: [...v].map(([k, x]) => [pack(k), pack(x)]) };
    if (v instanceof Set) return { "~": "set", items: [...v].map(pack) };
    if (v instanceof RegExp) return { "~": "regexp", source: v.source, flags: v.flags };
    const write = v.constructor?.[S("workflow-serialize")];
    if (write && v.constructor.classId) return { "~": "instance", id: v.constructor.classId, data: pack(write.call(v.constructor, v)) };
    if (v instanceof Error) return { "~": "error", failure: failure(v, pack) };
    if (v instanceof ReadableStream) return stream(v);
    if (v instanceof AbortSignal) return ofSignal("signal", v);
    if (v instanceof AbortController) return ofSignal("controller", v.signal);
    const web = ofWeb(v);
    if (web !== undefined) return web;
    if (typeof v.toJSON === "function") return pack(v.toJSON());
    const out = {};
    for (const key of Object.keys(v)) if (v[key] !== undefined) out[key] = pack(v[key]);
    return "~" in out ? { "~": "object", value: out } : out;
  };
  return pack;
};

const failure = (e, pack, depth = 0) => {
  if (!(e instanceof Error)) return { name: "Error", message: String(e), data: pack(e) };
  const out = { name: String(e.name ?? "Error"), message: String(e.message ?? "") };
  const own = {};
  for (const key of Object.keys(e)) {
    if (["name", "message", "stack", "cause"].includes(key)) continue;
    try {
      own[key] = pack(e[key]);
    } catch { /* it cannot cross, and is told without */ }
  }
  if (Object.keys(own).length) out.data = own;
  if (e.cause instanceof Error && depth < 8) out.cause = failure(e.cause, pack, depth + 1);
  return out;
};

const bytesOf = (form) => {
  const found = Buffer.from(form.base64, "base64");
  return new Uint8Array(found.buffer, found.byteOffset, found.byteLength).slice();
};
const messageOf = (v, unpack) => (v.body === undefined ? undefined : unpack(v.body));
const revivers = {
  undefined: () => undefined,
  bigint: (v) => BigInt(v.digits),
  number: (v) => Number(v.text),
  date: (v) => new Date(v.iso ?? NaN),
  bytes: bytesOf,
  buffer: (v, unpack) => unpack(v.bytes).buffer,
  view: (v, unpack) => new globalThis[v.kind](unpack(v.bytes).buffer),
  map: (v, unpack) => new Map(v.entries.map(([k, x]) => [unpack(k), unpack(x)])),
  set: (v, unpack) => new Set(v.items.map(unpack)),
  regexp: (v) => new RegExp(v.source, v.flags),
  object: (v, unpack) => fields(v.value, unpack),
  error: (v, unpack) => errorOf(v.failure, unpack),
  headers: (v) => new Headers(v.entries),
  url: (v) => new URL(v.href),
  params: (v) => new URLSearchParams(v.text),
  blob: (v, unpack) => new Blob([unpack(v.bytes)], { type: v.type }),
  file: (v, unpack) => new File([unpack(v.bytes)], v.name, { type: v.type, lastModified: v.lastModified }),
  request: (v, unpack) => new Request(new URL(v.url, "http://localhost"), { method: v.method, headers: v.headers, body: messageOf(v, unpack) }),
  response: (v, unpack) => new Response(messageOf(v, unpack) ?? null, { status: v.status, statusText: v.statusText, headers: v.headers }),
  class: (v) => classes().get(v.id),
};
const fields = (v, unpack) => Object.fromEntries(Object.keys(v).map((key) => [key, unpack(v[key])]));
const errorOf = (v, unpack) => {
  const Known = globalThis[S(`@workflow/errors//${v.name}`)] ?? globalThis[v.name];
  const isError = typeof Known === "function" && (Known === Error || Known.prototype instanceof Error);
  const error = isError ? new Known(v.message) : new Error(v.message);
  if (error.name !== v.name) Object.defineProperty(error, "name", { value: v.name, writable: true, configurable: true });
  if (v.cause) error.cause = errorOf(v.cause, unpack);
  return Object.assign(error, v.data && typeof v.data === "object" ? unpack(v.data) : {});
};

const unpacker = (call) => {
  const signal = (v) => {
    const controller = new AbortController();
    if (v.aborted) controller.abort(unpack(v.reason));
    const key = `${call.meta.run}/${v.id}`;
    if (!signals.has(key)) signals.set(key, new Set());
    signals.get(key).add(controller);
    call.held.push([key, controller]);
    return controller;
  };
  // Aborting it here aborts it in the workflow too, and wherever a step holds it.
  const controller = (v) => {
    const own = signal(v);
    const abort = own.abort.bind(own);
    const told = (reason) => {
      if (own.signal.aborted) return;
      abort(reason);
      call.say({ aborted: v.id, reason: call.pack(own.signal.reason) });
    };
    return Object.defineProperties(own, { abort: { value: told }, [BY_HOST]: { value: abort } });
  };
  const own = {
    stream: (v) => (v.mode === "readable" ? readable(call, v, unpack) : writable(call, v.name)),
    signal: (v) => signal(v).signal,
    controller,
    step: (v) => stepOf(call, v, unpack),
    workflow: (v) => Object.assign(() => { throw new Error("a workflow is not called: start it"); }, { workflowId: v.id }),
    instance: (v) => {
      const Kind = classes().get(v.id);
      if (!Kind) throw new TypeError(`the class ${v.id} is not in this file`);
      return Kind[S("workflow-deserialize")](unpack(v.data));
    },
  };
  const unpack = (v) => {
    if (typeof v !== "object" || v === null) return v;
    if (Array.isArray(v)) return v.map(unpack);
    const kind = v["~"];
    const make = typeof kind === "string" ? own[kind] ?? revivers[kind] : undefined;
    return make ? make(v, unpack) : fields(v, unpack);
  };
  return unpack;
};

// ── streams: chunks are records of the run ─────────────────────────────────────────────────────────────────────────
const writable = (call, name) => {
  const stream = new WritableStream({
    write: (chunk) => call.say({ stream: name, chunk: call.pack(chunk) }),
    close: () => call.say({ stream: name, closed: true }),
  });
  return Object.defineProperty(stream, STREAM, { value: name });
};
const readable = (call, { name, run }, unpack) => {
  let at = 0;
  const stream = new ReadableStream({
    async pull(controller) {
      const found = await call.read(name, run, at);
      at = found.at;
      for (const chunk of found.chunks) controller.enqueue(unpack(chunk));
      if (found.closed) controller.close();
    },
  }, { highWaterMark: 0 });
  Object.defineProperty(stream, RUN, { value: run });
  return Object.defineProperty(stream, STREAM, { value: name });
};

// What the SDK's getWritable() finds in a step, whichever stream of its run it asks for: no World is needed.
class Writables extends Map {
  constructor(call) {
    super();
    this.call = call;
  }
  get(named) {
    const name = named.startsWith("strm_") ? named : `strm_${named}`; // ids of runs need not be the SDK's
    if (!this.has(name)) this.set(name, { writable: writable(this.call, name), state: {} });
    return super.get(name);
  }
}

// ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────
const file = resolve(process.argv[2]);
globalThis[S("@workflow/world//cache")] ??= worldOf(contexts); // else the SDK writes streams to files of its own
const compiler = process.env.CLOCHE_COMPILER; // of TypeScript, as the host names it
if (compiler && /\.[cm]?ts$/.test(file)) register("./node_types.mjs", import.meta.url, { data: { compiler, file } });
const found = await import(pathToFileURL(file).href);
const registered = () => globalThis[STEPS] ?? new Map();
const plain = new Map(Object.entries(found).filter(([, one]) => typeof one === "function"));
const lastOf = (id) => id.slice(id.lastIndexOf("//") + 2);
const byLastPart = (name) => {
  const ids = [...registered().keys()].filter((id) => lastOf(id) === name);
  return ids.length === 1 ? registered().get(ids[0]) : undefined;
};
const stepNamed = (name) => registered().get(name) ?? plain.get(name) ?? byLastPart(name) ?? (name === FETCH ? fetch : undefined);
const namesOfAll = () => {
  const ids = [...registered().keys()];
  const names = ids.map(lastOf).filter((name) => byLastPart(name) !== undefined);
  return [...new Set([...plain.keys(), ...ids, ...names, FETCH])].filter((name) => name.length <= 200);
};
const isStep = (run) => /^[^{]*\{\s*["']use step["']/.test(Function.prototype.toString.call(run));
const stepOf = (call, v, unpack) => {
  const run = stepNamed(v.id);
  if (!run) throw new TypeError(`the step ${v.id} is not in ${file}`);
  const closure = v.closure && unpack(v.closure);
  const self = "self" in v ? unpack(v.self) : undefined;
  const first = v.args ? unpack(v.args) : [];
  return function (...args) {
    const context = { ...contexts.getStore(), ...(closure && { closureVars: closure }) };
    return contexts.run(context, () => run.apply("self" in v ? self : this, [...first, ...args]));
  };
};

// One call, which has `say`, `read` and a `controller`: what came of it, packed. It throws what the step did.
const perform = async (call) => {
  const { step, meta } = call;
  const pending = [];
  call.held = [];
  call.pack = packer(call, pending);
  const unpack = unpacker(call);
  try {
    const run = stepNamed(step);
    if (!run) throw Object.assign(new Error(`the step "${step}" is not in ${file}`), { name: "StepNotRegistered", fatal: true });
    const started = new Date(meta.startedAt);
    const context = {
      stepMetadata: { stepName: step, stepId: meta.key, stepStartedAt: new Date(meta.now), attempt: meta.attempt },
      workflowMetadata: {
        workflowName: meta.workflow, workflowRunId: meta.run, workflowStartedAt: started, url: "", features: { encryption: false },
      },
      ops: [], preCompletionOps: [], streamStates: [], writables: new Writables(call),
      closureVars: call.closure === undefined ? undefined : unpack(call.closure),
      signal: call.controller.signal, write: (value) => call.say({ wrote: call.pack(value) }),
    };
    const value = await contexts.run(context, () => run.apply(unpack(call.this), unpack(call.args)));
    await Promise.all([...context.ops, ...context.preCompletionOps]);
    const packed = call.pack(value);
    for (let i = 0; i < pending.length; i++) await pending[i];
    return packed;
  } finally {
    for (const [key, one] of call.held) {
      signals.get(key)?.delete(one);
      if (!signals.get(key)?.size) signals.delete(key);
    }
  }
};

const raised = (error, call) => {
  const retryAfter = error?.retryAfter instanceof Date ? Math.max(0, error.retryAfter - Date.now()) : undefined;
  const fatal = error?.name === "FatalError" || error?.fatal === true;
  return { error: failure(error, call.pack), fatal, retryAfter, stack: String(error?.stack ?? "") };
};

const abortAll = (run, name, reason) => {
  for (const one of signals.get(`${run}/${name}`) ?? []) (one[BY_HOST] ?? ((why) => one.abort(why)))(unpacker({ meta: {}, held: [] })(reason));
};

// What a plain step function can ask for: Symbol.for("cloche.step") is a function that gives its attempt.
globalThis[S("cloche.step")] = () => {
  const { stepMetadata, workflowMetadata, signal, write } = contexts.getStore() ?? {};
  if (stepMetadata === undefined) throw new Error("no step runs here");
  return { attempt: stepMetadata.attempt, idempotencyKey: stepMetadata.stepId, runId: workflowMetadata.workflowRunId, signal, write };
};

// ── for the process that has started this one ──────────────────────────────────────────────────────────────────────
const serveSocket = (wire) => {
  const say = (message) => wire.write(JSON.stringify(message) + "\n");
  const calls = new Map(); // id -> AbortController of the call
  const reads = new Map(); // number -> who waits for chunks
  let lastRead = 0;
  const serve = async (call) => {
    const { id } = call;
    calls.set(id, (call.controller = new AbortController()));
    call.say = (message) => void say({ id, ...message });
    call.read = (stream, run, from) =>
      new Promise((found) => {
        reads.set(++lastRead, found);
        say({ id, read: lastRead, stream, run, from });
      });
    try {
      say({ id, value: await perform(call) });
    } catch (error) {
      say({ id, ...raised(error, call) });
    } finally {
      calls.delete(id);
    }
  };
  const take = (message) => {
    if ("ping" in message) say({ pong: message.ping });
    else if ("abort" in message) calls.get(message.abort)?.abort(message.reason);
    else if ("signal" in message) abortAll(message.run, message.signal, message.reason);
    else if ("read" in message) {
      reads.get(message.read)?.(message);
      reads.delete(message.read);
    } else serve(message);
  };
  let parts = []; // of a line that has not ended
  wire.setEncoding("utf8");
  wire.on("data", (text) => {
    const lines = text.split("\n");
    parts.push(lines[0]);
    if (lines.length === 1) return;
    take(JSON.parse(parts.join("")));
    for (let i = 1; i < lines.length - 1; i++) take(JSON.parse(lines[i]));
    parts = [lines[lines.length - 1]];
  });
  for (const over of ["end", "error", "close"]) wire.on(over, () => process.exit(0));
  process.on("SIGINT", () => {}); // Ctrl-C in a terminal reaches both: the host ends this process by closing the socket
  const retriesOf = (run) => run.maxRetries ?? (isStep(run) ? RETRIES : null);
  const steps = [...plain].map(([name, run]) => [name, retriesOf(run)]);
  for (const [id, run] of registered()) steps.push([id, run.maxRetries ?? RETRIES]);
  if (!steps.some(([id]) => id === FETCH)) steps.push([FETCH, RETRIES]);
  say({ ready: true, steps });
};

// ── as a worker of the protocol of remote steps ────────────────────────────────────────────────────────────────────
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A call of "use workflow" code comes whole, and is answered with values as they are here; any other one has an input alone.
const performElsewhere = (name, End) => async (input, ctx) => {
  const given = ctx.call ?? { args: [input], startedAt: Date.now() };
  const controller = new AbortController();
  ctx.signal.addEventListener("abort", () => controller.abort(ctx.signal.reason));
  let said = Promise.resolve(); // one after the other, in the order in which they were said
  const tell = ({ wrote, aborted, reason, ...chunk }) => {
    const form = aborted === undefined ? { value: wrote ?? chunk } : { value: reason, abort: aborted };
    return (said = said.then(() => ctx.tell({ ...form, is_tagged: true })));
  };
  const read = async (stream, run, from) => {
    for (let wait = LOOKS_MS; ; wait = Math.min(2 * wait, LOOKS_MS_MAX)) {
      const found = await ctx.look({ stream, run, after: from });
      if (found.chunks.length > 0 || found.is_closed) return { chunks: found.chunks, closed: found.is_closed, at: found.after };
      from = found.after;
      if (controller.signal.aborted) throw controller.signal.reason;
      await pause(wait);
    }
  };
  const meta = {
    run: ctx.run_id, workflow: ctx.workflow_id, key: ctx.idempotency_key, attempt: ctx.attempt, now: Date.now(), startedAt: given.startedAt,
  };
  const call = { ...given, step: name, meta, controller, say: tell, read };
  const watching = setInterval(() => watch(call, ctx).catch(() => {}), WATCHES_MS);
  try {
    const output = await perform(call);
    await said;
    return new End("complete", { output, is_tagged: true });
  } catch (error) {
    await said;
    const { error: told, fatal, retryAfter = 0 } = raised(error, call);
    return new End("fail", { error: told, is_retryable: !fatal, retry_after_s: retryAfter / 1000, is_tagged: true });
  } finally {
    clearInterval(watching);
  }
};

// Whether the run has aborted what the step holds.
const watch = async (call, ctx) => {
  const held = call.held.filter(([, one]) => !one.signal.aborted).map(([key]) => key.slice(call.meta.run.length + 1));
  if (held.length === 0) return;
  const { aborted } = await ctx.look({ signals: held });
  for (const [name, reason] of Object.entries(aborted)) abortAll(call.meta.run, name, reason);
};

const serveUrl = async (url) => {
  const { End, StepReceiver, StepWorker } = await import("./step_worker.mjs");
  const { CLOCHE_TOKEN: token, CLOCHE_CONCURRENCY: concurrency, CLOCHE_PUSH_PORT: port, CLOCHE_PUSH_SECRET: secret } = process.env;
  const steps = Object.fromEntries(namesOfAll().map((name) => [name, performElsewhere(name, End)]));
  if (port !== undefined) {
    const receiver = new StepReceiver(steps, secret, { url, token });
    const server = (await import("node:http")).createServer(receiver.handler).listen(Number(port));
    process.on("SIGTERM", async () => {
      server.close();
      await receiver.end();
      process.exit(0);
    });
    return;
  }
  const worker = new StepWorker(url, steps, { token, ...(concurrency && { concurrency: Number(concurrency) }) });
  for (const end of ["SIGTERM", "SIGINT"]) process.on(end, () => worker.stop());
  await worker.run();
  process.exit(0);
};

process.on("unhandledRejection", (reason) => console.error("a promise of a step was rejected, and nobody handled it:", reason));
if (/^https?:/.test(process.argv[3])) await serveUrl(process.argv[3]);
else serveSocket(new Socket({ fd: Number(process.argv[3]), readable: true, writable: true }));
