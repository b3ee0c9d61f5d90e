// Performs step functions of one file for cloche, which owns the log: `node node_worker.mjs FILE FD`.
// FD is a socket that this process inherits: JSON messages, one a line. In: {id, step, args, this?, closure?, meta},
// {abort: id}, {signal: name, run, reason}, {read: n, chunks, closed}, {ping: n}. Out: {ready, steps} | {id, value | error},
// {id, stream, chunk | closed}, {id, read: n, stream}, {pong: n}. It ends when the socket does.
import { AsyncLocalStorage } from "node:async_hooks";
import { Socket } from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const S = Symbol.for;
const STREAM = S("WORKFLOW_STREAM_NAME");
const STEPS = S("@workflow/core//registeredSteps");
const FETCH = "step//./workflow/dist/stdlib//fetch";
const RETRIES = 3; // of a "use step" function that says nothing
const contexts = (globalThis[S("WORKFLOW_STEP_CONTEXT_STORAGE")] ??= new AsyncLocalStorage());
const classes = () => globalThis[S("workflow-class-registry")] ?? new Map();
const wire = new Socket({ fd: Number(process.argv[3]), readable: true, writable: true });
const say = (message) => wire.write(JSON.stringify(message) + "\n");
const calls = new Map(); // id -> AbortController of the call
const signals = new Map(); // run + name -> AbortControllers that live steps hold
const reads = new Map(); // number -> who waits for chunks
let lastRead = 0;

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
      for await (const chunk of readable) say({ id: call.id, stream: name, chunk: pack(chunk) });
      say({ id: call.id, stream: name, closed: true });
    })());
    return { "~": "stream", name, mode: "readable" };
  };
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
    if (typeof v[STREAM] === "string") return { "~": "stream", name: v[STREAM], mode: v instanceof ReadableStream ? "readable" : "writable" };
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
  const own = {
    stream: (v) => (v.mode === "readable" ? readable(call, v.name, unpack) : writable(call, v.name)),
    signal: (v) => signal(v).signal,
    controller: signal,
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
    write: (chunk) => void say({ id: call.id, stream: name, chunk: call.pack(chunk) }),
    close: () => void say({ id: call.id, stream: name, closed: true }),
  });
  return Object.defineProperty(stream, STREAM, { value: name });
};
const readable = (call, name, unpack) => {
  let at = 0;
  const stream = new ReadableStream({
    async pull(controller) {
      const number = ++lastRead;
      const { chunks, closed } = await new Promise((found) => {
        reads.set(number, found);
        say({ id: call.id, read: number, stream: name, from: at });
      });
      at += chunks.length;
      for (const chunk of chunks) controller.enqueue(unpack(chunk));
      if (closed) controller.close();
    },
  }, { highWaterMark: 0 });
  return Object.defineProperty(stream, STREAM, { value: name });
};

// ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────
const file = resolve(process.argv[2]);
const found = await import(pathToFileURL(file).href);
const registered = () => globalThis[STEPS] ?? new Map();
const plain = new Map(Object.entries(found).filter(([, one]) => typeof one === "function"));
const stepNamed = (name) => registered().get(name) ?? plain.get(name) ?? (name === FETCH ? fetch : undefined);
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

const serve = async (call) => {
  const { id, step, meta } = call;
  const controller = new AbortController();
  const pending = [];
  calls.set(id, controller);
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
      ops: [], preCompletionOps: [], streamStates: [], writables: new Map(),
      closureVars: call.closure === undefined ? undefined : unpack(call.closure),
      signal: controller.signal, write: (value) => void say({ id, wrote: call.pack(value) }),
    };
    const value = await contexts.run(context, () => run.apply(unpack(call.this), unpack(call.args)));
    await Promise.all([...context.ops, ...context.preCompletionOps]);
    const packed = call.pack(value);
    for (let i = 0; i < pending.length; i++) await pending[i];
    say({ id, value: packed });
  } catch (error) {
    const after = error?.retryAfter instanceof Date ? Math.max(0, error.retryAfter - Date.now()) : undefined;
    const fatal = error?.name === "FatalError" || error?.fatal === true;
    say({ id, error: failure(error, call.pack), fatal, retryAfter: after, stack: String(error?.stack ?? "") });
  } finally {
    calls.delete(id);
    for (const [key, one] of call.held) {
      signals.get(key)?.delete(one);
      if (!signals.get(key)?.size) signals.delete(key);
    }
  }
};

// What a plain step function can ask for: Symbol.for("cloche.step") is a function that gives its attempt.
globalThis[S("cloche.step")] = () => {
  const { stepMetadata, workflowMetadata, signal, write } = contexts.getStore() ?? {};
  if (stepMetadata === undefined) throw new Error("no step runs here");
  return { attempt: stepMetadata.attempt, idempotencyKey: stepMetadata.stepId, runId: workflowMetadata.workflowRunId, signal, write };
};

const take = (message) => {
  if ("ping" in message) say({ pong: message.ping });
  else if ("abort" in message) calls.get(message.abort)?.abort(message.reason);
  else if ("signal" in message) {
    for (const one of signals.get(`${message.run}/${message.signal}`) ?? []) one.abort(unpacker({ meta: {}, held: [] })(message.reason));
  } else if ("read" in message) {
    reads.get(message.read)?.(message);
    reads.delete(message.read);
  } else serve(message);
};

const steps = [
  ...[...plain].map(([name, run]) => [name, run.maxRetries ?? (isStep(run) ? RETRIES : null)]),
  ...[...registered()].map(([id, run]) => [id, run.maxRetries ?? RETRIES]),
];
if (!steps.some(([id]) => id === FETCH)) steps.push([FETCH, RETRIES]);
process.on("unhandledRejection", (reason) => console.error("a promise of a step was rejected, and nobody handled it:", reason));
process.on("SIGINT", () => {}); // Ctrl-C in a terminal reaches both: the host ends this process by closing the socket
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
wire.on("end", () => process.exit(0));
wire.on("error", () => process.exit(0));
wire.on("close", () => process.exit(0));
say({ ready: true, steps });
