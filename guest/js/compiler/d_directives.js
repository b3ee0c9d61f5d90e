// "use workflow" and "use step": what is marked, under which id, and what takes its place. Ids are those of the published plugin.

const DIRECTIVES = { "use workflow": "workflow", "use step": "step" };
const SERIALIZERS = new Set(["WORKFLOW_SERIALIZE", "workflow-serialize"]);
const DESERIALIZERS = new Set(["WORKFLOW_DESERIALIZE", "workflow-deserialize"]);
const STEP = 'globalThis[Symbol.for("WORKFLOW_USE_STEP")]';

const directiveIn = (statement) => (statement?.type === "ExpressionStatement" && statement.directive !== undefined ? DIRECTIVES[statement.directive] : undefined);
const directiveOf = (fn) => (fn?.body?.type === "BlockStatement" ? directiveIn(fn.body.body[0]) : undefined);

// The directive of the whole file: it stands for each function that is exported.
const directiveOfFile = (tree) => {
  for (const one of tree.body) {
    if (one.directive === undefined) return undefined;
    const kind = directiveIn(one);
    if (kind) return kind;
  }
  return undefined;
};

const keyName = (node) => (node.computed || node.key.type === "PrivateIdentifier" ? undefined : node.key.name ?? (typeof node.key.value === "string" ? node.key.value : undefined));

// Finds the marked functions of a file. What each becomes is put into `edits`; `steps` and `workflows` say what was found.
class Marks {
  constructor(file, source, tree, id, edits, problems) {
    Object.assign(this, { file, source, tree, id, edits, problems });
    this.whole = directiveOfFile(tree);
    this.steps = [];
    this.workflows = [];
    this.skip = new Set(); // nodes that are no longer there: bodies of steps
    this.hoisted = []; // statements before all others
    this.after = new Map(); // top statement -> text that follows it
    this.anonymous = 0;
    this.around = []; // nodes around the one that is looked at
    this.names = []; // names of properties on the way to it from a variable; undefined: it has none
  }

  refuse(node, why) { this.problems.add(this.file, this.source, node.start, why); }

  find() {
    for (const top of this.tree.body) {
      this.top = top;
      if (top.directive !== undefined) continue;
      const isExported = top.type === "ExportNamedDeclaration" || top.type === "ExportDefaultDeclaration";
      const node = isExported ? top.declaration : top;
      if (!node) continue;
      const kind = isExported ? this.whole : undefined;
      if (node.type === "FunctionDeclaration") this.declared(node, kind);
      else if (top.type === "ExportDefaultDeclaration" && isFunction(node)) this.defaultArrow(node, kind);
      else if (node.type === "VariableDeclaration") for (const one of node.declarations) this.variable(one, kind);
      else if (node.type === "ClassDeclaration") this.class_(node, node.id?.name);
      else this.inside(node);
    }
  }

  // ── at the top of the file ────────────────────────────────────────────────────────────────────────────────────────
  declared(node, whole) {
    const kind = this.kindOf(node, whole), name = node.id?.name ?? "default";
    if (kind === "step") this.hoist(name === "default" ? "$default" : name, node, name);
    else if (kind === "workflow") this.workflow(node, name, name === "default" ? "$default" : name);
    if (kind !== "step") this.body(node, name === "default" ? undefined : name);
  }

  defaultArrow(node, whole) {
    const kind = this.kindOf(node, whole);
    if (kind === "step") this.replace(node, "default", this.proxy(node, "default"));
    else if (kind === "workflow") this.workflow(node, "default", "$default");
    if (kind !== "step") this.body(node, undefined);
  }

  variable(node, whole) {
    const { id, init } = node;
    const name = id.type === "Identifier" ? id.name : undefined;
    if (isFunction(init) && name !== undefined) {
      const kind = this.kindOf(init, whole);
      if (kind === "step") return this.replace(init, name, this.proxy(init, name));
      if (kind === "workflow") this.workflow(init, name, name);
      return this.body(init, init.type === "FunctionExpression" ? name : undefined);
    }
    if (init?.type === "ClassExpression" && name !== undefined) return this.class_(init, name);
    if (name !== undefined && init) this.properties(init, [name], true);
    else if (init) this.inside(init);
  }

  // ── objects: tools = { search: async () => { "use step" } } is tools/search ───────────────────────────────────────
  properties(node, names, isTop) {
    this.around.push(node);
    if (node.type === "ObjectExpression") for (const one of node.properties) this.property(one, names, isTop);
    else if (node.type === "CallExpression") {
      this.inside(node.callee);
      for (const one of node.arguments) one.type === "ObjectExpression" ? this.properties(one, names, isTop) : this.inside(one);
    } else {
      this.around.pop();
      return this.inside(node);
    }
    this.around.pop();
  }

  property(one, names, isTop) {
    if (one.type !== "Property") return this.inside(one);
    const key = keyName(one), value = one.value;
    if (one.computed) this.inside(one.key);
    const path = key === undefined ? undefined : [...names, key];
    if (!isFunction(value)) return path && value.type === "ObjectExpression" ? this.properties(value, path, isTop) : this.inside(value);
    const kind = this.kindOf(value);
    if (kind === "workflow") this.refuse(value, 'an object\'s method cannot be marked "use workflow": make it a function at the top of the file');
    if (kind !== "step") return this.body(value, undefined);
    if (path === undefined) return this.refuse(one, 'what is marked "use step" here needs a name that is written');
    const name = (this.parent ? `${this.parent}/` : "") + path.join("/");
    const proxy = this.proxy(value, name);
    if (one.kind === "get") return this.replaceWhole(one, value, name, `get ${this.source.slice(one.key.start, one.key.end)}() { return ${proxy}(); }`);
    if (one.kind === "set") return this.refuse(one, 'a setter cannot be marked "use step": nothing waits for it');
    this.replaceWhole(one, value, name, `${this.source.slice(one.key.start, one.key.end)}: ${proxy}`);
  }

  // ── classes ───────────────────────────────────────────────────────────────────────────────────────────────────────
  class_(node, name) {
    this.around.push(node);
    if (node.superClass) this.inside(node.superClass);
    const tail = [];
    let isSerialized = 0;
    for (const one of node.body.body) {
      if (one.type !== "MethodDefinition") { this.inside(one); continue; }
      if (one.static && one.computed) isSerialized |= serializing(one.key);
      const kind = this.kindOf(one.value);
      if (kind === "step") this.methodStep(one, name, tail);
      else if (kind === "workflow") this.methodWorkflow(one, name, tail);
      if (kind !== "step") this.body(one.value, undefined);
    }
    this.around.pop();
    if (isSerialized === 3 || tail.some((text) => text.includes("WORKFLOW_USE_STEP"))) tail.push(`$class(${name}, ${JSON.stringify(`class//${this.id}//${name}`)});`);
    if (tail.length && name === undefined) this.refuse(node, "a class with steps or workflows needs a name");
    if (tail.length) this.after.set(this.top, [...(this.after.get(this.top) ?? []), ...tail]);
  }

  methodStep(one, name, tail) {
    const key = keyName(one);
    if (key === undefined || (typeof one.key.value === "string" && !/^[\w$]+$/.test(key))) return this.refuse(one, 'a method that is marked "use step" needs a plain name');
    if (one.kind === "set") return this.refuse(one, 'a setter cannot be marked "use step": nothing waits for it');
    if (one.kind === "constructor") return this.refuse(one, 'a constructor cannot be marked "use step": it cannot wait');
    const full = `${name}${one.static ? "." : "#"}${key}`, target = one.static ? name : `${name}.prototype`;
    const proxy = this.proxy(one.value, full);
    this.skip.add(one);
    this.remember(one.value, full);
    this.edits.cut(one.start, one.end);
    const quoted = JSON.stringify(key);
    tail.push(one.kind === "get" ? `$getter(${target}, ${quoted}, ${proxy});` : `${target}[${quoted}] = ${proxy};`);
  }

  methodWorkflow(one, name, tail) {
    const key = keyName(one);
    if (!one.static) return this.refuse(one, 'a method of an instance cannot be marked "use workflow": only functions and static methods can');
    if (one.kind !== "method" || key === undefined) return this.refuse(one, 'only a static method with a plain name can be marked "use workflow"');
    this.workflow(one.value, `${name}.${key}`, `${name}[${JSON.stringify(key)}]`, tail);
  }

  // ── inside of functions ───────────────────────────────────────────────────────────────────────────────────────────
  // `parent`: what ids of steps in it begin with; only a function that is declared at the top lends its name.
  body(fn, parent) {
    const before = this.parent;
    this.parent = parent;
    this.around.push(fn);
    for (const one of fn.params) this.inside(one);
    fn.body.type === "BlockStatement" ? this.block(fn.body) : this.inside(fn.body);
    this.around.pop();
    this.parent = before;
  }

  block(node) {
    this.around.push(node);
    for (const one of node.body) this.inside(one);
    this.around.pop();
  }

  inside(node) {
    if (node == null || this.skip.has(node)) return;
    if (isFunction(node)) return this.nested(node);
    switch (node.type) {
      case "BlockStatement": return this.block(node);
      case "VariableDeclarator": return this.nestedVariable(node);
      case "ObjectExpression": return this.nestedObject(node);
      case "ClassDeclaration": case "ClassExpression": return this.nestedClass(node);
      case "ExpressionStatement":
        if (node.directive === undefined && node.expression.type === "Literal" && DIRECTIVES[node.expression.value]) {
          return this.refuse(node, `"${node.expression.value}" must be the first line of a function`);
        }
        if (node.directive !== undefined && DIRECTIVES[node.directive] && this.around.at(-1)?.body?.[0] !== node) {
          return this.refuse(node, `"${node.directive}" must be the first line of a function`);
        }
    }
    this.around.push(node);
    eachChild(node, (child) => this.inside(child));
    this.around.pop();
  }

  // A function that stands in another, or in an expression.
  nested(fn, named) {
    const kind = this.kindOf(fn);
    if (kind === "workflow") return this.refuse(fn, 'a function inside another cannot be marked "use workflow": move it to the top of the file');
    const inFunction = this.around.some(isFunction);
    if (kind === "step") {
      if (!inFunction) return this.refuse(fn, 'what is marked "use step" here has no name: make it a function at the top of the file');
      const own = named ?? (fn.type === "FunctionDeclaration" ? fn.id.name : undefined) ?? `_anonymousStep${this.anonymous++}`;
      const name = (this.parent ? `${this.parent}/` : "") + own;
      return fn.type === "FunctionDeclaration" ? this.hoistInBlock(fn, name) : this.replace(fn, name, this.proxy(fn, name));
    }
    this.body(fn, fn.type === "ArrowFunctionExpression" ? this.parent : undefined);
  }

  nestedVariable(node) {
    const name = node.id.type === "Identifier" ? node.id.name : undefined;
    this.around.push(node);
    this.inside(node.id);
    if (isFunction(node.init)) this.nested(node.init, name);
    else if (name !== undefined && node.init && (node.init.type === "ObjectExpression" || node.init.type === "CallExpression")) this.properties(node.init, [name], false);
    else if (node.init) this.inside(node.init);
    this.around.pop();
  }

  // One that no variable names.
  nestedObject(node) {
    this.around.push(node);
    for (const one of node.properties) {
      if (one.type === "Property" && isFunction(one.value) && this.kindOf(one.value) === "step") {
        if (one.kind !== "init") { this.refuse(one, 'a getter or setter of an object without a name cannot be marked "use step"'); continue; }
        const key = this.source.slice(one.key.start, one.key.end);
        if (!this.around.some(isFunction)) { this.refuse(one, 'what is marked "use step" here has no name: make it a function at the top of the file'); continue; }
        const name = `${this.parent ? `${this.parent}/` : ""}_anonymousStep${this.anonymous++}`;
        this.replaceWhole(one, one.value, name, `${one.computed ? `[${key}]` : key}: ${this.proxy(one.value, name)}`);
      } else this.inside(one);
    }
    this.around.pop();
  }

  nestedClass(node) {
    for (const one of node.body.body) {
      if (one.type === "MethodDefinition" && directiveOf(one.value)) {
        return this.refuse(one, `a class whose methods are marked "use ${directiveOf(one.value)}" stands at the top of a file`);
      }
    }
    this.around.push(node);
    if (node.superClass) this.inside(node.superClass);
    for (const one of node.body.body) {
      if (one.type === "MethodDefinition") this.body(one.value, undefined);
      else if (one.type === "PropertyDefinition" && isFunction(one.value) && directiveOf(one.value)) {
        this.refuse(one, `a field cannot be marked "use ${directiveOf(one.value)}": make it a method`);
      } else this.inside(one);
    }
    this.around.pop();
  }

  // ── what takes the place of what ──────────────────────────────────────────────────────────────────────────────────
  kindOf(fn, whole) {
    const own = directiveOf(fn);
    const kind = own ?? (fn.async ? whole : undefined) ?? (whole === "step" ? whole : undefined);
    if (kind === "workflow" && !fn.async) {
      this.refuse(fn, 'a function that is marked "use workflow" must be async');
      return undefined;
    }
    return kind;
  }

  remember(fn, name) {
    this.skip.add(fn);
    this.steps.push({ id: `step//${this.id}//${name}`, name, ...this.lineOf(fn) });
  }

  lineOf(node) { return { file: this.file, line: placeOf(this.source, node.start).line }; }

  proxy(fn, name) {
    const names = captured(fn, this.around);
    const closure = names.length ? `, () => ({ ${names.join(", ")} })` : "";
    const bound = fn.type === "ArrowFunctionExpression" && this.around.some(isFunction) && readsThis(fn) ? ".bind(this)" : "";
    return `${STEP}(${JSON.stringify(`step//${this.id}//${name}`)}${closure})${bound}`;
  }

  replace(fn, name, by) {
    this.remember(fn, name);
    // After an arrow function's body a line that begins so is a statement of its own; after a call it would go on with it.
    const isEnd = fn.type === "ArrowFunctionExpression" && /^\s*[([`+\-/*]/.test(this.source.slice(fn.end));
    this.edits.cut(fn.start, fn.end, isEnd ? `${by};` : by);
  }

  replaceWhole(node, fn, name, by) {
    this.remember(fn, name);
    this.skip.add(node);
    this.edits.cut(node.start, node.end, by);
  }

  // A function that is declared can be used above it: so can the step that takes its place.
  hoist(variable, fn, name) {
    this.hoisted.push(`var ${variable} = ${this.proxy(fn, name)};`);
    this.remember(fn, name);
    this.edits.cut(fn.start, fn.end);
  }

  hoistInBlock(fn, name) {
    const block = this.around.findLast((node) => node.type === "BlockStatement" || node.type === "StaticBlock" || node.type === "SwitchStatement");
    if (block?.type !== "BlockStatement") return this.refuse(fn, 'this cannot be marked "use step" here: move it to the top of the file');
    const proxy = this.proxy(fn, name);
    this.remember(fn, name);
    const first = block.body.find((one) => one.directive === undefined) ?? fn;
    this.edits.insert(first === fn ? fn.start : first.start, `var ${fn.id.name} = ${proxy}; `);
    this.edits.cut(fn.start, fn.end);
  }

  workflow(fn, name, variable, tail) {
    const id = `workflow//${this.id}//${name}`;
    this.workflows.push({ id, name, ...this.lineOf(fn) });
    const text = `$workflow(${variable}, ${JSON.stringify(id)});`;
    tail ? tail.push(text) : this.after.set(this.top, [...(this.after.get(this.top) ?? []), text]);
  }
}

// 1: how an instance is written, 2: how it is read.
const serializing = (key) => {
  const name = key.type === "Identifier" ? key.name : key.type === "CallExpression" && key.arguments[0]?.type === "Literal" ? key.arguments[0].value : key.property?.name;
  return SERIALIZERS.has(name) ? 1 : DESERIALIZERS.has(name) ? 2 : 0;
};
