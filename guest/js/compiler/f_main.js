// The program: from an entry to one script. It asks the host for each file with the step `resolve`, which is given
// { from, name } for what a file imports, and gives { path, text, id, kind, isPackage } or { missing: why }.

const NODE = new Set([
  "assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants", "crypto", "dgram", "diagnostics_channel", "dns", "domain",
  "events", "fs", "http", "http2", "https", "inspector", "module", "net", "os", "path", "perf_hooks", "process", "punycode", "querystring", "readline",
  "repl", "stream", "string_decoder", "sys", "timers", "tls", "trace_events", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib", "bun", "deno",
]);
const isOfNode = (from) => from.startsWith("node:") || NODE.has(from.split("/")[0]);

// What stands before all modules: each is evaluated once.
const RUNTIME = [
  "const $made = [], $bodies = [];",
  "const $define = (n, body) => { $bodies[n] = body; };",
  "const $run = (n) => { if (!$made[n]) { const module = { exports: {} }; $made[n] = module; $bodies[n](module.exports, $import, module); } return $made[n]; };",
  "const $require = (n) => $run(n).exports;",
  "const $import = (n) => { const { exports } = $run(n); return $bodies[n].isCommon && !(exports != null && exports.__esModule) ? $named(exports) : exports; };",
  "const $named = (value) => { const out = Object.assign({}, typeof value === 'object' || typeof value === 'function' ? value : {}); out.default = value; return out; };",
  "const $requires = (at) => (name) => { if (!Object.hasOwn(at, name)) throw new Error(`Cannot find module '${name}'`); return at[name](); };",
  "const $get = (exports, name, get) => Object.defineProperty(exports, name, { enumerable: true, configurable: true, get });",
  "const $star = (exports, from) => { for (const name of Object.keys(from)) if (name !== 'default' && !Object.hasOwn(exports, name)) $get(exports, name, () => from[name]); };",
  "const $workflow = (fn, id) => { fn.workflowId = id; globalThis.__private_workflows.set(id, fn); };",
  "const $getter = (target, name, step) => Object.defineProperty(target, name, { get() { return step.call(this); }, configurable: true, enumerable: false });",
  "const $class = (it, id) => { const key = Symbol.for('workflow-class-registry'); (globalThis[key] ??= new Map()).set(id, it);" +
    " if (!Object.hasOwn(it, 'classId')) Object.defineProperty(it, 'classId', { value: id }); };",
].join(" ");

class Program {
  constructor(ours) {
    this.ours = ours; // by specifier, what may be imported of it; undefined: not known here
    this.problems = new Problems();
    this.modules = new Map(); // by path
    this.asked = new Map(); // `from\0name` -> what the host said
    this.waiting = []; // { module, from, node, then }
  }

  async compile(entry) {
    const main = this.load(entry);
    if (main) {
      this.entry = main;
      main.needRoots(this.demand);
      if (main.kind === "es") this.entryExports(main);
      while (this.waiting.length) await this.answer();
    }
    if (this.problems.found.length) return { problems: this.problems.found };
    if (![...this.modules.values()].some((one) => one.marks?.workflows.length)) {
      this.problems.add(main.path, main.text, 0, 'nothing here is marked "use workflow": write it as the first line of an async function');
      return { problems: this.problems.found };
    }
    return this.written();
  }

  // What the entry hands on may be workflows of other files.
  entryExports(main) {
    for (const [, found] of main.exports) {
      const imported = found.local !== undefined && !main.byName.has(found.local) ? main.imports.get(found.local) : undefined;
      const from = found.from ?? imported?.from;
      if (from !== undefined && from.startsWith(".")) this.demand(main, from, undefined, found.node ?? imported.node, undefined, true);
    }
    for (const { from, node } of main.stars) if (from.startsWith(".")) this.demand(main, from, undefined, node, undefined, true);
  }

  load(found) {
    const known = this.modules.get(found.path);
    if (known) return known;
    const made = found.kind === "es" ? new EsModule(found.path, found.id, found.text, found.isPackage, this.problems) : new CommonModule(found.path, found.text, found.kind, this.problems);
    this.modules.set(found.path, made);
    if (!made.read()) return undefined;
    made.isRead = true;
    if (found !== this.entryFile) made.needRoots(this.demand);
    return made;
  }

  demand = (module, from, name, node, local, isMaybe) => {
    const target = module.targets.get(from);
    if (target) return this.wanted(module, target, from, name, node, isMaybe);
    if (isOurs(from)) {
      module.targets.set(from, { isOurs: true });
      return this.wanted(module, module.targets.get(from), from, name, node, isMaybe);
    }
    if (isOfNode(from)) return this.refuse(module, from, node, local ?? name, "");
    this.waiting.push({ module, from, name, node, local, isMaybe });
  };

  wanted(module, target, from, name, node, isMaybe) {
    if (target.isOurs) return this.ofOurs(module, from, name, node);
    if (name === undefined || !target.isRead) return;
    target.want(name, this.demand);
    if (!isMaybe) (this.checks ??= []).push([module, target, from, name, node]);
  }

  ofOurs(module, from, name, node) {
    const known = this.ours === undefined || from === "cloche" ? undefined : this.ours[from];
    if (this.ours !== undefined && from !== "cloche" && known === undefined) return this.refuse(module, from, node, name, " (it has nothing for workflows)");
    if (known && name !== undefined && name !== "*" && name !== "default" && !known.includes(name)) {
      module.problems.add(module.path, module.source ?? module.text, node.start, `'${from}' has no '${name}' for workflows`);
    }
  }

  refuse(module, from, node, what, why) {
    const named = what === undefined || what === "*" || what === "default" ? "" : `: ${what}`;
    module.problems.add(module.path, module.source ?? module.text, node.start, `'${from}' cannot be used in a workflow, only in a step${named}${why}`);
  }

  // One round: the host is asked for all that is not known yet, at once.
  async answer() {
    const waiting = this.waiting.splice(0);
    const keys = new Map();
    for (const { module, from } of waiting) {
      const key = `${module.path}\0${from}`;
      if (!this.asked.has(key)) keys.set(key, { from: module.path, name: from });
    }
    const all = [...keys];
    const answers = await Promise.all(all.map(([, asked]) => cloche.step("resolve")(asked)));
    all.forEach(([key], i) => this.asked.set(key, answers[i]));
    for (const { module, from, name, node, local, isMaybe } of waiting) {
      const found = this.asked.get(`${module.path}\0${from}`);
      if (found.missing !== undefined) {
        if (module.kind === "commonjs") continue; // what is not there throws when it is asked for
        if (from.startsWith(".") || from.startsWith("/")) module.problems.add(module.path, module.source ?? module.text, node.start, `${found.missing}`);
        else this.refuse(module, from, node, local ?? name, ` (${found.missing})`);
        continue;
      }
      const target = this.load(found);
      if (!target) continue;
      module.targets.set(from, target);
      this.wanted(module, target, from, name, node, isMaybe);
    }
  }

  // ── the script ────────────────────────────────────────────────────────────────────────────────────────────────────
  order() {
    const order = [], seen = new Set();
    const visit = (module) => {
      if (seen.has(module)) return;
      seen.add(module);
      for (const from of [...module.sources.keys(), ...module.targets.keys()]) { // as they are imported, not as they were found
        const to = module.targets.get(from);
        if (to && !to.isOurs) visit(to);
      }
      order.push(module);
    };
    visit(this.entry);
    return order;
  }

  written() {
    for (const [module, target, from, name, node] of this.checks ?? []) {
      if (target.kind === "es" && !target.has(name)) module.problems.add(module.path, module.source, node.start, `'${from}' exports no '${name}'`);
    }
    if (this.problems.found.length) return { problems: this.problems.found };
    const order = this.order(), numbers = new Map(order.map((module, i) => [module, i]));
    const number = (module) => numbers.get(module);
    const out = [RUNTIME], files = [];
    let line = 1;
    order.forEach((module, i) => {
      const { head, code, shifts, tail } = module.written(number, (target) => target.kind === "es" && number(target) >= i);
      const isCommon = module.kind !== "es";
      const names = isCommon ? "exports, $import, module" : "$exports, $import, $module";
      const process = module.isPackage || isCommon ? `const process = { env: { NODE_ENV: "production" } }, global = globalThis;` : "";
      out.push(`$define(${i}, (${names}) => { ${isEsHead(module, tail)}${process} ${head}`, code, isEsTail(module, tail, i));
      files.push({ path: module.path, line: line + 1, lines: code.split("\n").length, shifts, isPackage: isCommon || module.isPackage });
      line += 2 + code.split("\n").length;
    });
    out.push(order.map((module, i) => (module.kind === "es" ? `$run(${i});` : "")).join(" ")); // of some only the workflows are meant
    const all = order.filter((module) => module.marks);
    const once = (list) => [...new Map(list.map((one) => [one.id, one])).values()];
    return { code: out.join("\n"), files, workflows: once(all.flatMap((one) => one.marks.workflows)), steps: once(all.flatMap((one) => one.marks.steps)) };
  }
}

// Getters of exports come first: another file may read them while this one is evaluated, in a circle.
const isEsHead = (module, tail) => (module.kind === "es" ? `${tail} ` : "");
const isEsTail = (module, tail, i) => (module.kind === "es" ? "});" : `${tail}}); $bodies[${i}].isCommon = true;`);

const oursHere = () => {
  const found = globalThis[Symbol.for("cloche.modules")];
  return found === undefined ? undefined : { ...Object.fromEntries(Object.keys(found).map((from) => [from, Object.keys(found[from])])), [SERDE]: Object.keys(SERDE_SYMBOLS) };
};

// For a Node process, which performs its steps: a file without its types, and the names of the steps that its top declares.
const forSteps = (program, entry) => {
  const module = new EsModule(entry.path, entry.id, entry.text, false, program.problems);
  if (!module.read()) return { problems: program.problems.found };
  const names = module.marks.steps.map((one) => one.name);
  return { source: module.source, steps: names.filter((name) => /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name) && name !== "default") };
};

export default async (entry) => {
  const program = new Program(oursHere());
  program.entryFile = entry;
  try {
    return entry.forSteps ? forSteps(program, entry) : await program.compile(entry);
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof InternalError_)) throw error;
    return { problems: [{ file: entry.path, line: 1, column: 1, text: "", message: `it cannot be read: ${error.message}` }] };
  }
};
const InternalError_ = globalThis.InternalError ?? RangeError;
