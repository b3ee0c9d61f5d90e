// TypeScript to JavaScript in place: types become spaces, so that line and column of what runs are those of what was written.
// What is more than a type is made JavaScript in its lines (enums, parameter properties), or refused.

const ONLY_TYPES = new Set([
  "TSTypeAnnotation", "TSInterfaceDeclaration", "TSTypeAliasDeclaration", "TSTypeParameterInstantiation",
  "TSTypeParameterDeclaration", "TSDeclareFunction", "TSAbstractMethodDefinition", "TSAbstractPropertyDefinition",
  "TSDeclareMethod", "TSIndexSignature", "TSNamespaceExportDeclaration",
]);
const IN_CLASS = new Set(["TSAbstractMethodDefinition", "TSAbstractPropertyDefinition", "TSDeclareMethod", "TSIndexSignature"]);
const WRAPPED = new Set(["TSAsExpression", "TSSatisfiesExpression", "TSNonNullExpression", "TSInstantiationExpression"]);
const REFUSED = {
  TSImportEqualsDeclaration: "'import … =' is not JavaScript: write import … from",
  TSExportAssignment: "'export =' is not JavaScript: write export default",
  Decorator: "decorators are not taken: call the function that the decorator is",
  TSModuleDeclaration: "a namespace is more than a type: write its members at the top of a file of their own",
  JSXElement: "JSX is not for workflows: render it in a step",
  JSXFragment: "JSX is not for workflows: render it in a step",
  AccessorProperty: "'accessor' fields are not taken: write a getter and a setter",
};
const SCRIPT = /\.[cm]?jsx?$/;
const WITH_JSX = /\.[jt]sx$/;

const parsers = new Map();
const typedParser = (jsx) => {
  if (!parsers.has(jsx)) parsers.set(jsx, acorn.Parser.extend(tsPlugin(jsx ? { jsx: {} } : {})));
  return parsers.get(jsx);
};

class Types {
  constructor(file, text, problems) {
    this.file = file;
    this.text = text;
    this.problems = problems;
    this.ranges = []; // [start, end] that become spaces
    this.puts = []; // [start, end, text] that are put in, no longer than what they replace or at its end
    this.ends = new Map(); // where statements end -> they do
  }

  refuse(node, why) { this.problems.add(this.file, this.text, node.start, why); }

  blanked(tree) {
    this.visit(tree, null);
    const edits = new Edits(this.text);
    for (const [start, end] of this.ranges) {
      const by = spaces(this.text.slice(start, end));
      // A statement that ended with a type now ends before it: without a semicolon the next line could go on with it.
      edits.put(start, end, this.ends.has(end) && by[0] === " " ? ";" + by.slice(1) : by);
    }
    for (const [start, end, by] of this.puts) edits.put(start, end, by);
    return edits.applied();
  }

  erase(node, end = node.end) { this.ranges.push([node.start, end]); }

  visit(node, parent) {
    const { type } = node;
    if (REFUSED[type] && !this.isErased(node)) return this.refuse(node, REFUSED[type]);
    if (ONLY_TYPES.has(type) || this.isErased(node)) return this.eraseWhole(node, parent);
    if (type === "TSEnumDeclaration") return this.enumeration(node, parent);
    if (STATEMENTS.test(type) && this.text[node.end - 1] !== ";" && this.text[node.end - 1] !== "}") this.ends.set(node.end, true);
    if (WRAPPED.has(type)) this.ranges.push([this.wrapping(node), node.end]);
    else if (type === "TSTypeAssertion") this.assertion(node);
    else if (type === "ArrowFunctionExpression") this.arrow(node);
    else if (type === "TSParameterProperty") this.parameterProperty(node);
    else if (type.startsWith("Class")) this.heritage(node);
    if (isFunction(node)) this.thisParameter(node);
    this.marks(node);
    if (node.decorators?.length) return this.refuse(node.decorators[0], REFUSED.Decorator);
    eachChild(node, (child, key) => {
      if ((key === "typeAnnotation" && (WRAPPED.has(type) || type === "TSTypeAssertion")) || key === "implements") return;
      if (type === "TSInstantiationExpression" && key !== "expression") return;
      this.visit(child, node);
    });
  }

  isErased(node) {
    if (node.declare || node.importKind === "type" || node.exportKind === "type") return true;
    if (node.abstract && /Definition$/.test(node.type)) return true;
    const inner = node.declaration;
    if (node.type === "ExportNamedDeclaration" && inner) return ONLY_TYPES.has(inner.type) || this.isErased(inner);
    if (node.type === "ExportDefaultDeclaration" && inner) return ONLY_TYPES.has(inner.type);
    return node.type === "TSModuleDeclaration" && this.hasOnlyTypes(node.body);
  }

  hasOnlyTypes(block) {
    if (block?.type === "TSModuleDeclaration") return this.hasOnlyTypes(block.body);
    return (block?.body ?? []).every((one) => ONLY_TYPES.has(one.type) || this.isErased(one));
  }

  eraseWhole(node, parent) {
    let end = node.end;
    if (/Specifier$/.test(node.type)) end += /^\s*,/.exec(this.text.slice(end))?.[0].length ?? 0;
    this.erase(node, end);
    if (parent?.type === "Program" || parent?.type === "BlockStatement" || IN_CLASS.has(node.type) || node.declare) this.ends.set(end, true);
  }

  // Where the type of `x as T`, `x!` or `f<T>` begins: parentheses around the expression belong to no node.
  wrapping(node) {
    if (node.type === "TSNonNullExpression") return this.text.lastIndexOf("!", node.end - 1);
    if (node.type === "TSInstantiationExpression") return (node.typeParameters ?? node.typeArguments).start;
    return this.text.lastIndexOf(node.type === "TSAsExpression" ? "as" : "satisfies", node.typeAnnotation.start - 1);
  }

  // `<T>x`; a body `=> <T>{…}` would become a block.
  assertion(node) {
    const end = this.text.indexOf(">", node.typeAnnotation.end) + 1;
    if (/^\s*\{/.test(this.text.slice(end))) this.refuse(node, "write { … } as T here: without its type in front this would be a block");
    this.ranges.push([node.start, end]);
  }

  // No line may end between `async` and its parameters, nor between them and the arrow: so the parentheses move into the types.
  arrow(node) {
    const { typeParameters, returnType } = node;
    if (typeParameters && this.text.slice(typeParameters.start, typeParameters.end).includes("\n")) {
      const open = this.text.indexOf("(", typeParameters.end);
      this.puts.push([typeParameters.start, open + 1, "(" + spaces(this.text.slice(typeParameters.start + 1, open + 1))]);
    }
    if (returnType && this.text.slice(returnType.start, returnType.end).includes("\n")) {
      const close = this.text.lastIndexOf(")", returnType.start);
      this.puts.push([close, returnType.end, spaces(this.text.slice(close, returnType.end - 1)) + ")"]);
    }
  }

  // `function f(this: T, a)`: a type, too.
  thisParameter(node) {
    const first = node.params?.[0];
    if (first?.type !== "Identifier" || first.name !== "this") return;
    const comma = /^\s*,/.exec(this.text.slice(first.end))?.[0].length ?? 0;
    this.ranges.push([first.start, first.end + comma]);
  }

  heritage(node) {
    const list = node.implements;
    if (list?.length) this.ranges.push([this.text.lastIndexOf("implements", list[0].start), list.at(-1).end]);
  }

  // `constructor(private x: T)` also sets this.x, as soon as there is a `this`.
  parameterProperty(node) {
    const { parameter } = node;
    const target = parameter.type === "AssignmentPattern" ? parameter.left : parameter;
    this.ranges.push([node.start, target.start]);
  }

  marks(node) {
    if (node.type === "MethodDefinition" && node.kind === "constructor") this.constructor_(node);
    if (node.optional && (node.type === "Identifier" || /^(?:Property|Method)Definition$/.test(node.type))) {
      const from = node.type === "Identifier" ? node.start + node.name.length : node.key.end;
      const at = this.text.indexOf("?", from);
      if (at >= 0 && at < node.end) this.ranges.push([at, at + 1]);
    } else if (/Pattern$/.test(node.type) && node.optional) {
      const end = node.typeAnnotation ? node.typeAnnotation.start : node.end;
      const at = this.text.lastIndexOf("?", end);
      if (at > node.start) this.ranges.push([at, at + 1]);
    }
    if (node.definite) {
      const at = this.text.indexOf("!", (node.id ?? node.key).start);
      this.ranges.push([at, at + 1]);
    }
    if (node.type === "TSParameterProperty") return;
    for (const word of ["accessibility", "readonly", "abstract", "override"]) {
      if (!node[word]) continue;
      const wanted = node[word] === true ? word : node[word];
      const head = this.text.slice(node.start, (node.key ?? node.id ?? node.body ?? node).start || node.end);
      const at = head.search(new RegExp(`\\b${wanted}\\b`));
      if (at >= 0) this.ranges.push([node.start + at, node.start + at + wanted.length]);
    }
  }

  constructor_(node) {
    const named = node.value.params.filter((one) => one.type === "TSParameterProperty");
    if (!named.length || !node.value.body) return;
    const names = named.map(({ parameter }) => (parameter.type === "AssignmentPattern" ? parameter.left : parameter).name);
    const text = names.map((name) => ` this.${name} = ${name};`).join("");
    const calls = node.value.body.body.find((one) => one.type === "ExpressionStatement" && one.expression.callee?.type === "Super");
    const at = calls ? calls.end : node.value.body.start + 1;
    this.puts.push([at, at, (calls && this.text[at - 1] !== ";" ? ";" : "") + text]);
  }

  // In its lines: `enum E { A, B = "b" }` is an object with names by value, as TypeScript's is.
  enumeration(node, parent) {
    const { text } = this, name = node.id.name;
    this.puts.push([node.start, node.members[0]?.start ?? node.end - 1, lined(text.slice(node.start, node.members[0]?.start ?? node.end - 1), `var ${name} = ((${name}) => {`)]);
    let last;
    node.members.forEach((member, i) => {
      const key = member.id.type === "Identifier" ? member.id.name : member.id.value;
      const own = member.id.type === "Identifier" ? member.id.name : `$${i}`;
      const value = member.initializer ? text.slice(member.initializer.start, member.initializer.end) : last === undefined ? "0" : `${last} + 1`;
      const quoted = JSON.stringify(key);
      const until = node.members[i + 1]?.start ?? node.end - 1;
      const made = ` const ${own} = ${name}[${quoted}] = ${value}; if (typeof ${own} !== "string") ${name}[${own}] = ${quoted};`;
      this.puts.push([member.start, until, lined(text.slice(member.start, until), made)]);
      last = own;
    });
    this.puts.push([node.end - 1, node.end, ` return ${name}; })(typeof ${name} === "undefined" ? {} : ${name});`]);
    if (parent?.type === "ExportDefaultDeclaration") this.refuse(node, "an enum cannot be exported by default: export it by name");
  }
}

// A text of some lines in place of another: as many as that has.
const lined = (before, text) => {
  const missing = before.split("\n").length - text.split("\n").length;
  return text + "\n".repeat(Math.max(missing, 0));
};

const message = (error) => String(error.message).replace(/ \(\d+:\d+\)$/, "");

// The JavaScript of a file: { source, shifts }, or undefined where it has problems.
const withoutTypes = (file, text, problems) => {
  const known = problems.found.length;
  let typed;
  try {
    typed = typedParser(WITH_JSX.test(file)).parse(text, { ecmaVersion: "latest", sourceType: "module", locations: true, allowHashBang: true });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    problems.add(file, text, Math.min(error.pos ?? 0, text.length), hintOf(file, text, error) ?? message(error));
    return undefined;
  }
  const made = new Types(file, text, problems).blanked(typed);
  return problems.found.length > known ? undefined : { source: made.code, shifts: made.shifts };
};

const LIKE_JSX = /<\/[\w.]*>|<[A-Za-z][^<>]*\/>/;
const hintOf = (file, text, error) => {
  if (WITH_JSX.test(file) || !LIKE_JSX.test(placeOf(text, error.pos ?? 0).text)) return undefined;
  return `JSX is not for workflows: render it in a step (without it: ${message(error)})`;
};
