// What all parts of the compiler use: problems with their places, and the tree that acorn gives.

class Problems {
  #found = [];
  get found() { return this.#found; }

  // `at` is an offset in `text`, which is that of `file`.
  add(file, text, at, message) {
    if (this.#found.length < PROBLEMS_MAX) this.#found.push({ file, ...placeOf(text, at), message });
  }
}
const PROBLEMS_MAX = 50;
const LINE_CHARS = 200;

// Line and column count from 1; `text` is that line.
const placeOf = (text, at) => {
  const begin = text.lastIndexOf("\n", at - 1) + 1;
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < at; i = text.indexOf("\n", i + 1)) line++;
  const end = text.indexOf("\n", at);
  return { line, column: at - begin + 1, text: text.slice(begin, end < 0 ? undefined : end).slice(0, LINE_CHARS) };
};

const isNode = (value) => typeof value === "object" && value !== null && typeof value.type === "string";

// Calls `visit(child, key, list)` for the nodes in a node, in the order of the source for all that matters here.
const eachChild = (node, visit) => {
  for (const key in node) {
    const value = node[key];
    if (typeof value !== "object" || value === null || key === "loc") continue;
    if (value instanceof Array) {
      for (let i = 0; i < value.length; i++) if (isNode(value[i])) visit(value[i], key);
    } else if (typeof value.type === "string") visit(value, key);
  }
};

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);
const isFunction = (node) => node != null && FUNCTIONS.has(node.type);
const STATEMENTS = /(?:Statement|Declaration)$|^PropertyDefinition$/;

// Spaces in place of a text, its line ends kept: so what follows stays where it is.
const spaces = (text) => text.replace(/[^\n\r\u2028\u2029]/g, " ");

// ── edits ───────────────────────────────────────────────────────────────────────────────────────────────────────────
// A text with parts replaced. Lines stay lines: what is put in has as many as what it takes the place of.
class Edits {
  #list = [];
  constructor(text) { this.text = text; }

  put(start, end, by) { this.#list.push([start, end, by, this.#list.length]); }
  insert(at, text) { this.put(at, at, text); }
  blank(start, end) { this.put(start, end, spaces(this.text.slice(start, end))); }

  // Nothing but `by`, and the lines.
  cut(start, end, by = "") {
    const lines = this.text.slice(start, end).split("\n").length - 1;
    this.put(start, end, by + "\n".repeat(lines));
  }

  // { code, shifts: [line, column there, column in the text …], from 0, where columns are others than in the text }
  applied() {
    const list = this.#list.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[3] - b[3]);
    const out = [], shifts = [];
    let at = 0, line = 0, lineStart = 0, column = 0, lastShift = 0;
    const keep = (end) => {
      const part = this.text.slice(at, end);
      out.push(part);
      let from = 0;
      for (let i = part.indexOf("\n"); i >= 0; i = part.indexOf("\n", i + 1)) { line++; from = i + 1; lastShift = 0; }
      column = from === 0 ? column + part.length : part.length - from;
      if (from > 0) lineStart = at + from;
      at = end;
    };
    for (const [start, end, by] of list) {
      if (start < at) continue; // in what is gone already
      keep(start);
      out.push(by);
      for (let i = this.text.indexOf("\n", at); i >= 0 && i < end; i = this.text.indexOf("\n", i + 1)) lineStart = i + 1;
      const lines = by.split("\n");
      if (lines.length > 1) { line += lines.length - 1; column = lines.at(-1).length; lastShift = 0; } else column += by.length;
      at = end;
      const shift = column - (at - lineStart);
      if (shift !== lastShift) { shifts.push(line, column, at - lineStart); lastShift = shift; }
    }
    keep(this.text.length);
    return { code: out.join(""), shifts };
  }
}
