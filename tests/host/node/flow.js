globalThis.__private_workflows = new Map();
const useStep = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
const { sleep, createHook, createWebhook, FatalError, getWorkflowMetadata, start, getWritable } = globalThis[Symbol.for("cloche.modules")]["workflow"];
const echo = useStep("step//./flow//echo");
const countTo = useStep("step//./flow//countTo");
const readAll = useStep("step//./flow//readAll");
const say = useStep("step//./flow//say");
const untilAborted = useStep("step//./flow//untilAborted");
const add = useStep("step//./flow//add");
const fails = useStep("step//./flow//fails");
const abortAfter = useStep("step//./flow//abortAfter");
const writeFramed = useStep("step//./flow//writeFramed");
const writeOwn = useStep("step//./flow//writeOwn");
const workflow = (name, run) => {
  run.workflowId = `workflow//./flow//${name}`;
  globalThis.__private_workflows.set(run.workflowId, run);
  return run;
};

class Point {
  constructor(x) {
    this.x = x;
  }
  static [Symbol.for("workflow-serialize")](point) {
    return { x: point.x };
  }
  static [Symbol.for("workflow-deserialize")]({ x }) {
    return new Point(x);
  }
}
Object.defineProperty(Point, "classId", { value: "class//./flow//Point" });
(globalThis[Symbol.for("workflow-class-registry")] ??= new Map()).set(Point.classId, Point);
Point.prototype.scaled = useStep("step//./flow//Point#scaled");

workflow("sums", async (a, b) => {
  const first = await add(a, b);
  await sleep("1ms");
  return await Promise.all([add(first, 1), add(first, 2)]);
});
workflow("values", async () => {
  const map = new Map([["a", new Set([1, undefined, /x/gi])], ["late", new Date(NaN)], ["floats", new Float32Array([1, 2])]]);
  const back = await echo({ map, "~": "mine", point: undefined, big: 2n ** 70n, error: new FatalError("told"), url: new URL("https://a.example/?q=1") });
  const [one, none, pattern] = back.map.get("a");
  return {
    map: back.map instanceof Map, one, none: none === undefined, pattern: String(pattern), late: Number.isNaN(+back.map.get("late")),
    floats: [...back.map.get("floats")], tilde: back["~"], big: back.big === 2n ** 70n,
    error: back.error instanceof FatalError && back.error.message, query: back.url.searchParams.get("q"),
  };
});
workflow("web", async () => {
  const response = await echo(new Response("body", { status: 201, headers: { "X-A": "1" } }));
  const form = new FormData();
  form.append("file", new File(["text"], "a.txt"));
  const back = await echo(form);
  const request = await echo(new Request("https://a.example/x", { method: "POST", body: "k=v" }));
  return [response.status, await response.text(), response.headers.get("x-a"), await back.get("file").text(), request.method, await request.text()];
});
workflow("streams", async (n) => {
  const stream = await countTo(n);
  await say(getWritable({ namespace: "log" }), "hello");
  return [stream instanceof ReadableStream, (await readAll(stream)).map((one) => one.i + one.bytes[0])];
});
workflow("aborts", async () => {
  const controller = new AbortController();
  const told = untilAborted(controller.signal);
  await sleep("200ms");
  controller.abort("enough");
  return await told;
});
workflow("aborted by a step", async () => {
  const controller = new AbortController();
  const heard = new Promise((resolve) => controller.signal.addEventListener("abort", () => resolve(controller.signal.reason)));
  const [other] = await Promise.all([untilAborted(controller.signal), abortAfter(controller, "enough")]);
  return [other, await heard, controller.signal.aborted];
});
workflow("aborted by nobody", async () => {
  const controller = new AbortController();
  const said = await echo({ controller });
  controller.abort("mine");
  return [said.controller instanceof AbortController, controller.signal.reason];
});
const writing = workflow("writing", async (lines) => {
  await writeOwn(lines);
  return "written";
});
workflow("reading", async (lines) => {
  const run = await start(writing, [lines]);
  await run.returnValue;
  return [await readAll(await run.getReadable()), await readAll(await run.getReadable({ namespace: "none" }))];
});
const framing = workflow("framing", async (texts) => await writeFramed(texts));
workflow("reading frames", async (texts) => {
  const run = await start(framing, [texts]);
  await run.returnValue;
  const all = await readAll(await run.getReadable());
  return [all.length, all[0].when.getTime(), all[0].map.get("a").has(2), all[0].self, all[1], all[2]];
});
const sleeping = workflow("sleeping", async () => {
  await sleep("365 days");
  return "awake";
});
workflow("waking", async () => {
  const run = await start(sleeping, []);
  let woken = 0;
  while (woken === 0) woken = (await run.wakeUp()).stoppedCount;
  return [woken, await run.returnValue];
});
workflow("captured", async (offset) => {
  const inner = useStep("step//./flow//main/add", () => ({ offset }));
  return [await inner(1), await new Point(4).scaled(2)];
});
workflow("failing", async () => {
  try {
    await fails("too much");
  } catch (error) {
    return [error.name, error.message, error instanceof FatalError, error.cause.name, error.cause instanceof RangeError, error.cause.limit, error.cause.cause.message];
  }
});
workflow("hooked", async (token, count) => {
  const hook = createHook({ token });
  const conflict = await hook.getConflict();
  if (conflict) return { conflict: conflict.runId };
  const all = [];
  for await (const one of hook) if (all.push(one) === count) break;
  hook.dispose();
  return all;
});
workflow("awaiting", async (token) => {
  try {
    return await createHook({ token });
  } catch (error) {
    return [error.name, error.message.includes(token)];
  }
});
workflow("webhook", async () => {
  const hook = createWebhook();
  await say(getWritable(), hook.token);
  const request = await hook;
  return [request.method, await request.json(), hook.url === `/v1/hooks/${hook.token}`];
});
const leaf = workflow("leaf", async (n) => n * 2);
workflow("parent", async (n) => {
  const run = await start(leaf, [n]);
  return [await run.returnValue, await run.status, await run.exists, await run.workflowName, run.runId.startsWith("wrun_")];
});
workflow("metadata", async () => {
  const { workflowName, workflowRunId, workflowStartedAt } = getWorkflowMetadata();
  return [workflowName, workflowRunId, workflowStartedAt.getTime() === Date.now()];
});
workflow("refused", async () => {
  const said = [];
  for (const odd of [() => 1, Symbol("x"), new ReadableStream(), new WeakMap()]) await echo(odd).catch((error) => said.push(error.message));
  return said;
});
export default globalThis.__private_workflows;
