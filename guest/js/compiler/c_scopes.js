// Which name means what: the names that a file's statements read of the file, and those that a function takes along.

const patternNames = (node, into) => {
  if (node == null) return into;
  switch (node.type) {
    case "Identifier": into.add(node.name); break;
    case "ObjectPattern": for (const one of node.properties) patternNames(one.value ?? one.argument, into); break;
    case "ArrayPattern": for (const one of node.elements) patternNames(one, into); break;
    case "AssignmentPattern": patternNames(node.left, into); break;
    case "RestElement": patternNames(node.argument, into); break;
  }
  return into;
};

// What `var` declares in a function's body, wherever it stands in it.
const varNames = (node, into) => {
  if (node.type === "VariableDeclaration" && node.kind === "var") for (const one of node.declarations) patternNames(one.id, into);
  if (isFunction(node) || node.type.startsWith("Class")) return into;
  eachChild(node, (child) => varNames(child, into));
  return into;
};

// What a block's own statements declare.
const blockNames = (statements, into) => {
  for (const one of statements) {
    const node = one.type.startsWith("Export") && one.declaration ? one.declaration : one;
    if (node.type === "VariableDeclaration") for (const each of node.declarations) patternNames(each.id, into);
    else if ((node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") && node.id) into.add(node.id.name);
  }
  return into;
};

// The names that a node makes for what is in it; undefined where it makes no scope.
const scopeOf = (node) => {
  if (isFunction(node)) {
    const names = new Set();
    for (const one of node.params) patternNames(one, names);
    if (node.type === "FunctionExpression" && node.id) names.add(node.id.name);
    if (node.type !== "ArrowFunctionExpression") names.add("arguments");
    if (node.body.type === "BlockStatement") varNames(node.body, names);
    return names;
  }
  switch (node.type) {
    case "BlockStatement": case "StaticBlock": return blockNames(node.body, new Set());
    case "SwitchStatement": return blockNames(node.cases.flatMap((one) => one.consequent), new Set());
    case "ForStatement": case "ForInStatement": case "ForOfStatement": {
      const head = node.init ?? node.left;
      return head?.type === "VariableDeclaration" ? blockNames([head], new Set()) : undefined;
    }
    case "CatchClause": return patternNames(node.param, new Set());
    case "ClassExpression": return node.id ? new Set([node.id.name]) : undefined;
  }
  return undefined;
};

// Calls `found(identifier, parent)` for each name that a node reads or writes and does not declare itself. `skip` are nodes to leave out.
const freeNames = (root, skip, found) => {
  const scopes = [];
  const isKnown = (name) => scopes.some((names) => names.has(name));
  const walk = (node, parent) => {
    if (skip.has(node)) return;
    if (node.type === "Identifier") { if (!isKnown(node.name)) found(node, parent); return; }
    const names = scopeOf(node);
    if (names) scopes.push(names);
    switch (node.type) {
      case "MemberExpression": walk(node.object, node); if (node.computed) walk(node.property, node); break;
      case "Property": if (node.computed) walk(node.key, node); walk(node.value, node); break;
      case "MethodDefinition": case "PropertyDefinition": if (node.computed) walk(node.key, node); if (node.value) walk(node.value, node); break;
      case "LabeledStatement": walk(node.body, node); break;
      case "BreakStatement": case "ContinueStatement": case "MetaProperty": case "ImportDeclaration": break;
      case "ExportNamedDeclaration": if (node.declaration) walk(node.declaration, node); break;
      case "ExportAllDeclaration": break;
      case "FunctionDeclaration": case "FunctionExpression": case "ClassDeclaration":
        eachChild(node, (child, key) => { if (key !== "id") walk(child, node); });
        break;
      default: eachChild(node, (child) => walk(child, node));
    }
    if (names) scopes.pop();
  };
  walk(root, null);
};

// The names that a function reads and that stand in a function around it: `around` are the nodes around, from the outermost.
const captured = (fn, around) => {
  const outer = new Set();
  const inFunction = around.findIndex(isFunction);
  for (const node of inFunction < 0 ? [] : around.slice(inFunction)) for (const name of scopeOf(node) ?? []) outer.add(name);
  outer.delete("arguments");
  const names = new Set();
  freeNames(fn, new Set(), ({ name }) => { if (outer.has(name)) names.add(name); });
  return [...names].sort();
};

const readsThis = (fn) => {
  let does = false;
  const walk = (node) => {
    if (node.type === "ThisExpression") does = true;
    if (node.type !== "FunctionDeclaration" && node.type !== "FunctionExpression" && !node.type.startsWith("Class")) eachChild(node, walk);
  };
  eachChild(fn, walk);
  return does;
};
