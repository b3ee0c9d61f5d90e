// One file: its statements, what each declares and reads, what it imports and exports; and its text once it is known what of it
// is needed. What only steps used is left out: their bodies are not here, and what nothing else reads is not, either.

const WORKFLOW_NAMES = 'globalThis[Symbol.for("cloche.modules")]';
const EMPTY = Object.freeze({ ids: [], shifts: [] });
const isOurs = (from) => from === "workflow" || from === "cloche" || from.startsWith("workflow/") || from.startsWith("@workflow/");

const nameOf = (node) => node.name ?? node.value; // an export's name may be a string

class EsModule {
  constructor(path, id, text, isPackage, problems) {
    Object.assign(this, { path, id, text, isPackage, problems });
    this.kind = "es";
    this.statements = []; // { node, declares, reads: Set, isRoot, isNeeded }
    this.byName = new Map(); // of the file's top -> statement
    this.imports = new Map(); // local name -> { from, name: "*" for all, node }
    this.exports = new Map(); // name -> { local } or { from, name }
    this.stars = []; // { from, node }: export * from
    this.sources = new Map(); // what it imports from -> node of the first import
    this.bare = []; // import "./for/its/effects"
    this.targets = new Map(); // from -> module, or { isOurs }
    this.wanted = new Set(); // exports that somebody reads; "*" is all
    this.usedImports = new Set();
  }

  refuse(node, why) { this.problems.add(this.path, this.source ?? this.text, node.start, why); }

  // Whether it could be read.
  read() {
    const plain = SCRIPT.test(this.path) && !WITH_JSX.test(this.path) ? { source: this.text, shifts: [] } : withoutTypes(this.path, this.text, this.problems);
    if (!plain) return false;
    this.source = plain.source;
    const tree = this.parsed();
    if (!tree) return false;
    const known = this.problems.found.length;
    this.edits = new Edits(this.source);
    this.marks = new Marks(this.path, this.source, tree, this.id, this.edits, this.problems);
    this.marks.find();
    for (const node of tree.body) this.statement(node);
    return this.problems.found.length === known;
  }

  parsed() {
    try {
      return acorn.parse(this.source, { ecmaVersion: "latest", sourceType: "module", allowHashBang: true });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.problems.add(this.path, this.source, Math.min(error.pos ?? 0, this.source.length), message(error));
      return undefined;
    }
  }

  statement(node) {
    switch (node.type) {
      case "ImportDeclaration": return this.importing(node);
      case "ExportAllDeclaration": return this.exportingAll(node);
      case "ExportNamedDeclaration": if (!node.declaration) return this.exportingNames(node);
    }
    const inner = node.declaration ?? node;
    const declares = [...blockNames([node], new Set())];
    if (node.type === "ExportDefaultDeclaration") {
      const name = inner.id && /Declaration$/.test(inner.type) ? inner.id.name : "$default";
      if (!declares.includes(name)) declares.push(name);
      this.exports.set("default", { local: name });
    } else if (node.type === "ExportNamedDeclaration") for (const name of declares) this.exports.set(name, { local: name });
    const isDeclaration = /Declaration$/.test(inner.type) || node.type === "ExportDefaultDeclaration";
    const one = { node, declares, reads: new Map(), isRoot: !isDeclaration && node.directive === undefined, isNeeded: false };
    if (this.marks.after.get(node)?.some((text) => text.startsWith("$workflow"))) one.isRoot = true;
    freeNames(node, this.marks.skip, (identifier, parent) => {
      if (!one.reads.has(identifier.name)) one.reads.set(identifier.name, []);
      one.reads.get(identifier.name).push([identifier, parent]);
    });
    this.awaits(node);
    this.statements.push(one);
    for (const name of declares) this.byName.set(name, one);
  }

  importing(node) {
    const from = node.source.value;
    if (!this.sources.has(from)) this.sources.set(from, node);
    if (!node.specifiers.length && !this.bare.includes(from)) this.bare.push(from);
    for (const one of node.specifiers) {
      const name = one.type === "ImportNamespaceSpecifier" ? "*" : one.type === "ImportDefaultSpecifier" ? "default" : nameOf(one.imported);
      this.imports.set(one.local.name, { from, name, node });
    }
    this.edits.cut(node.start, node.end);
  }

  exportingAll(node) {
    const from = node.source.value;
    if (!this.sources.has(from)) this.sources.set(from, node);
    node.exported ? this.exports.set(nameOf(node.exported), { from, name: "*", node }) : this.stars.push({ from, node });
    this.edits.cut(node.start, node.end);
  }

  exportingNames(node) {
    const from = node.source?.value;
    if (from !== undefined && !this.sources.has(from)) this.sources.set(from, node);
    for (const one of node.specifiers) {
      const name = nameOf(one.exported), local = nameOf(one.local);
      this.exports.set(name, from === undefined ? { local, node } : { from, name: local, node });
    }
    this.edits.cut(node.start, node.end);
  }

  // Modules are evaluated without a host: nothing could be waited for.
  awaits(node) {
    const walk = (one) => {
      if (this.marks.skip.has(one)) return;
      if (one.type === "ImportExpression") return this.refuse(one, "import(…) cannot be used in a workflow: import it at the top of the file");
      if (!isFunction(one)) {
        if (one.type === "AwaitExpression" || (one.type === "ForOfStatement" && one.await)) return this.refuse(one, "nothing can be awaited at the top of a file: await it in the workflow");
        eachChild(one, walk);
      } else eachChild(one, inner);
    };
    const inner = (one) => {
      if (this.marks.skip.has(one)) return;
      if (one.type === "ImportExpression") return this.refuse(one, "import(…) cannot be used in a workflow: import it at the top of the file");
      eachChild(one, inner);
    };
    walk(node);
  }

  // ── what is needed ────────────────────────────────────────────────────────────────────────────────────────────────
  // `demand(module, from, name, node)` is called for each import that something needs.
  needRoots(demand) {
    for (const one of this.statements) if (one.isRoot) this.need(one, demand);
    for (const from of this.bare) if (!isOurs(from)) demand(this, from, undefined, this.sources.get(from));
  }

  need(one, demand) {
    if (one.isNeeded) return;
    one.isNeeded = true;
    for (const name of one.reads.keys()) this.needName(name, demand);
  }

  needName(name, demand) {
    const statement = this.byName.get(name);
    if (statement) return this.need(statement, demand);
    const found = this.imports.get(name);
    if (!found || this.usedImports.has(name)) return;
    this.usedImports.add(name);
    demand(this, found.from, found.name, found.node, name);
  }

  // Whether this file has an export of that name, itself or by the name of another file; "*" are all.
  want(name, demand) {
    if (this.wanted.has(name) || this.wanted.has("*")) return;
    this.wanted.add(name);
    if (name === "*") {
      for (const each of this.exports.keys()) this.wantOne(each, demand);
      for (const { from, node } of this.stars) demand(this, from, "*", node);
    } else this.wantOne(name, demand);
  }

  wantOne(name, demand) {
    const found = this.exports.get(name);
    if (!found) { if (name !== "default") for (const { from, node } of this.stars) demand(this, from, name, node, undefined, true); return; }
    if (found.from !== undefined) return demand(this, found.from, found.name, found.node);
    this.needName(found.local, demand);
  }

  has(name, seen = new Set()) {
    if (name === undefined || name === "*" || this.exports.has(name)) return true;
    if (seen.has(this)) return false;
    seen.add(this);
    return name !== "default" && this.stars.some(({ from }) => { const to = this.targets.get(from); return !to || to.kind !== "es" || to.has(name, seen); });
  }

  exportNames() { return [...this.exports.keys()]; }

  // ── its text ──────────────────────────────────────────────────────────────────────────────────────────────────────
  // { head, code, shifts, tail }: `isLate(module)` says whether that runs after this one, so that its names are read when they are used.
  written(number, isLate) {
    const head = [...this.hoistedNeeded()];
    for (const [name, { from, name: imported }] of this.imports) {
      if (!this.usedImports.has(name)) continue;
      const target = this.targets.get(from);
      if (target.isOurs) head.push(`const ${name} = ${oursText(from, imported)};`);
      else if (isLate(target)) this.readLate(name, `$import(${number(target)})${imported === "*" ? "" : `[${JSON.stringify(imported)}]`}`);
      else head.push(`const ${name} = ${imported === "*" ? `$import(${number(target)})` : `$import(${number(target)})[${JSON.stringify(imported)}]`};`);
    }
    for (const from of this.bare) if (!isOurs(from)) head.push(`$import(${number(this.targets.get(from))});`);
    for (const one of this.statements) this.write(one);
    const { code, shifts } = this.edits.applied();
    return { head: head.join(" "), code, shifts, tail: this.exported(number).join(" ") };
  }

  hoistedNeeded() {
    return this.marks.hoisted.filter((text) => { const name = /^var (\S+) =/.exec(text)[1]; return this.byName.get(name)?.isNeeded ?? true; });
  }

  readLate(name, by) {
    for (const one of this.statements) {
      if (!one.isNeeded) continue;
      for (const [identifier, parent] of one.reads.get(name) ?? []) {
        const isShort = parent?.type === "Property" && parent.shorthand;
        const isCall = (parent?.type === "CallExpression" && parent.callee === identifier) || parent?.type === "TaggedTemplateExpression";
        this.edits.put(identifier.start, identifier.end, isShort ? `${name}: ${by}` : isCall ? `(0, ${by})` : by);
      }
    }
  }

  write(one) {
    const { node } = one, isGone = this.marks.skip.has(node.declaration ?? node);
    if (!one.isNeeded) { if (node.directive === undefined) this.edits.cut(node.start, node.end); return; }
    if (node.type === "ExportNamedDeclaration") this.edits.blank(node.start, node.declaration.start);
    else if (node.type === "ExportDefaultDeclaration") this.writeDefault(node, isGone);
    const after = this.marks.after.get(node);
    if (after) this.edits.insert(node.end, `; ${after.join(" ")}`);
  }

  writeDefault(node, isGone) {
    const { declaration } = node, isDeclared = /^(?:Function|Class)Declaration$/.test(declaration.type);
    if (isGone && isDeclared) return this.edits.blank(node.start, declaration.start);
    if (isDeclared && declaration.id) return this.edits.blank(node.start, declaration.start);
    if (isDeclared) {
      const word = /^(?:async\s+)?(?:function\s*\*?|class)/.exec(this.source.slice(declaration.start));
      this.edits.blank(node.start, declaration.start);
      return this.edits.insert(declaration.start + word[0].length, " $default");
    }
    const head = this.source.slice(node.start, declaration.start), pad = head.length - 14;
    this.edits.put(node.start, declaration.start, `let $default =${pad > 0 ? spaces(head.slice(14)) : ""}`);
  }

  exported(number) {
    const out = [];
    const isWanted = (name) => this.wanted.has("*") || this.wanted.has(name);
    for (const [name, found] of this.exports) {
      if (!isWanted(name)) continue;
      const target = found.from === undefined ? undefined : this.targets.get(found.from);
      const imported = found.local !== undefined && !this.byName.has(found.local) ? this.imports.get(found.local) : undefined;
      if (found.from !== undefined) out.push(getter(name, target.isOurs ? oursText(found.from, found.name) : importText(number(target), found.name)));
      else if (imported) { const to = this.targets.get(imported.from); out.push(getter(name, to?.isOurs ? oursText(imported.from, imported.name) : importText(number(to), imported.name))); }
      else if (this.byName.get(found.local)?.isNeeded) out.push(getter(name, found.local));
    }
    for (const { from } of this.stars) {
      const target = this.targets.get(from);
      if (target && !target.isOurs && number(target) !== undefined) out.push(`$star($exports, $import(${number(target)}));`);
    }
    return out;
  }
}

// A package of two symbols, which code names itself: it is no part of the guest.
const SERDE = "@workflow/serde";
const SERDE_SYMBOLS = { WORKFLOW_SERIALIZE: 'Symbol.for("workflow-serialize")', WORKFLOW_DESERIALIZE: 'Symbol.for("workflow-deserialize")' };

const oursText = (from, name) => {
  if (from === SERDE) return SERDE_SYMBOLS[name] ?? `({ ${Object.entries(SERDE_SYMBOLS).map(([key, text]) => `${key}: ${text}`).join(", ")} })`;
  if (from === "cloche") return name === "*" || name === "default" ? "cloche" : `cloche[${JSON.stringify(name)}]`;
  return `${WORKFLOW_NAMES}[${JSON.stringify(from)}]${name === "*" ? "" : `[${JSON.stringify(name)}]`}`;
};
const importText = (number, name) => `$import(${number})${name === "*" ? "" : `[${JSON.stringify(name)}]`}`;
const getter = (name, text) => `$get($exports, ${JSON.stringify(name)}, () => ${text});`;

// A file of CommonJS, as packages have them, or JSON: evaluated when it is first asked for.
class CommonModule {
  constructor(path, text, kind, problems) {
    Object.assign(this, { path, text, kind, problems });
    this.targets = new Map();
    this.sources = new Map();
  }

  read() {
    if (this.kind === "json") return this.readJson();
    let tree;
    try {
      tree = acorn.parse(this.text, { ecmaVersion: "latest", sourceType: "script", allowReturnOutsideFunction: true, allowHashBang: true });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.problems.add(this.path, this.text, Math.min(error.pos ?? 0, this.text.length), message(error));
      return false;
    }
    freeNames(tree, new Set(), (identifier, parent) => {
      if (identifier.name !== "require" || parent?.type !== "CallExpression" || parent.callee !== identifier) return;
      const [first] = parent.arguments;
      if (first?.type === "Literal" && typeof first.value === "string" && !this.sources.has(first.value)) this.sources.set(first.value, parent);
    });
    return true;
  }

  readJson() {
    try { JSON.parse(this.text); } catch (error) { this.problems.add(this.path, this.text, 0, `no JSON: ${error.message}`); return false; }
    return true;
  }

  needRoots(demand) { for (const [from, node] of this.sources) demand(this, from, "*", node); }
  want() {}
  has() { return true; }

  written(number) {
    if (this.kind === "json") return { head: `module.exports = (`, code: this.text.replace(/[\u2028\u2029]/g, ""), shifts: [], tail: ");" };
    const at = [...this.targets].map(([from, to]) => `${JSON.stringify(from)}: ${to.isOurs ? oursText(from, "*") : `$import(${number(to)})`}`);
    const known = [...this.targets].map(([from, to]) => `${JSON.stringify(from)}: () => ${to.isOurs ? oursText(from, "*") : `$require(${number(to)})`}`);
    return { head: at.length || known.length ? `const require = $requires({ ${known.join(", ")} });` : "const require = $requires({});", code: this.text.replace(/^#!/, "//"), shifts: [], tail: "" };
  }
}
