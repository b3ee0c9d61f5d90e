// The console: every method writes a log line, or nothing. None of them throws: a line is not worth a run.
(cloche) => {
  "use strict";

  const { log, unhandled } = cloche;
  const { unbound, newMap, hide, define, push } = cloche.own;
  const { apply, ownKeys, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
  const { stringify } = JSON;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const { isError } = Error;
  const { now } = Date;
  const { trunc } = Math;
  const [StringOf, NumberOf, ObjectPrototype] = [String, Number, Object.prototype];
  const [slice, indexOf, padEnd, repeat, replaceAll] = [
    String.prototype.slice, String.prototype.indexOf, String.prototype.padEnd, String.prototype.repeat, String.prototype.replaceAll,
  ].map((method) => unbound(method));
  const errorText = unbound(Error.prototype.toString);
  const hasOwn = unbound(Object.prototype.hasOwnProperty);
  const [eachOfMap, eachOfSet, dateToJson] = [Map.prototype.forEach, Set.prototype.forEach, Date.prototype.toJSON].map((method) =>
    unbound(method),
  );
  const isOf = (check) => (value) => {
    try {
      check(value);
      return true;
    } catch {
      return false;
    }
  };
  const [isMap, isSet, isDate, isRegExp] = [
    cloche.own.getterOf(Map.prototype, "size"), cloche.own.getterOf(Set.prototype, "size"), unbound(Date.prototype.getTime),
    cloche.own.getterOf(RegExp.prototype, "source"),
  ].map(isOf);
  const regExpText = unbound(RegExp.prototype.toString);

  const ITEMS_MAX = 1000; // of one container; what is left is counted
  const DEPTH_MAX = 8;
  const NO_TEXT = "[a value without text]";

  // ── values as text: JSON where JSON says what the value is, and JavaScript's words where it does not ──────────────────
  const scalar = (value, isTop) => {
    switch (typeof value) {
      case "string":
        return isTop ? value : stringify(value);
      case "bigint":
        return StringOf(value) + "n";
      case "function":
        return "[Function" + nameOf(value) + "]";
      default:
        return StringOf(value);
    }
  };
  const nameOf = (value) => {
    const found = getOwnPropertyDescriptor(value, "name");
    return found !== undefined && typeof found.value === "string" && found.value !== "" ? " " + found.value : "";
  };

  const shown = (value, above, depth) => {
    if (typeof value !== "object" || value === null) return scalar(value, depth === 0);
    for (let i = 0; i < above.length; i++) if (above[i] === value) return "[Circular]";
    if (isError(value)) return depth === 0 ? errorShown(value, above) : "[" + errorText(value) + "]";
    if (isDate(value)) return stringify(dateToJson(value)) ?? "null";
    if (isRegExp(value)) return regExpText(value);
    if (depth > DEPTH_MAX) return isArray(value) ? "[Array]" : "[Object]";
    push(above, value);
    const text = container(value, above, depth);
    above.length--;
    return text;
  };

  const errorShown = (error, above) => {
    let text = errorText(error);
    const { cause, errors } = error;
    if (cause !== undefined) text += " [cause: " + shown(cause, withOne(above, error), 1) + "]";
    if (isArray(errors)) text += " " + shown(errors, withOne(above, error), 1);
    return text;
  };
  const withOne = (above, one) => {
    const all = [];
    for (let i = 0; i < above.length; i++) push(all, above[i]);
    push(all, one);
    return all;
  };

  const container = (value, above, depth) => {
    const { toJSON } = value;
    if (typeof toJSON === "function") return shown(apply(toJSON, value, [""]), above, depth + 1);
    if (isArray(value)) return list(value, above, depth);
    if (isMap(value)) return "Map" + entries((each) => eachOfMap(value, (item, key) => each(shown(key, above, depth + 1) + " => " + shown(item, above, depth + 1))));
    if (isSet(value)) return "Set" + entries((each) => eachOfSet(value, (item) => each(shown(item, above, depth + 1))));
    if (isView(value) && typeof value.length === "number") return kindOf(value) + list(value, above, depth);
    return kindOf(value) + fields(value, above, depth);
  };

  const kindOf = (value) => {
    const prototype = getPrototypeOf(value);
    if (prototype === ObjectPrototype || prototype === null) return "";
    const found = getOwnPropertyDescriptor(prototype, "constructor");
    const name = found === undefined || typeof found.value !== "function" ? "" : nameOf(found.value);
    return name === "" || name === " Object" ? "" : slice(name, 1) + " ";
  };

  const list = (value, above, depth) => {
    let text = "";
    for (let i = 0; i < value.length && i < ITEMS_MAX; i++) text += (i ? "," : "") + inside(value[i], above, depth);
    return "[" + text + more(value.length) + "]";
  };
  // As in JSON, an undefined item is null.
  const inside = (value, above, depth) => (value === undefined ? "null" : shown(value, above, depth + 1));
  const more = (count) => (count > ITEMS_MAX ? ", … " + StringOf(count - ITEMS_MAX) + " more" : "");

  const fields = (value, above, depth) => {
    const names = ownKeys(value);
    let text = "";
    let count = 0;
    for (let i = 0; i < names.length; i++) {
      const field = typeof names[i] === "string" ? getOwnPropertyDescriptor(value, names[i]) : undefined;
      if (field === undefined || !field.enumerable) continue;
      const item = hasOwn(field, "value") ? field.value : value[names[i]];
      if (item === undefined) continue;
      if (count++ < ITEMS_MAX) text += (text && ",") + stringify(names[i]) + ":" + shown(item, above, depth + 1);
    }
    return "{" + text + more(count) + "}";
  };

  const entries = (each) => {
    let text = "";
    let count = 0;
    each((entry) => {
      if (count++ < ITEMS_MAX) text += (text && ", ") + entry;
    });
    return "(" + StringOf(count) + "){" + text + more(count) + "}";
  };

  const word = (value) => {
    try {
      return shown(value, [], 0);
    } catch {
      return NO_TEXT;
    }
  };

  // ── a line: formats first, then what is left, joined by spaces ────────────────────────────────────────────────────────
  const whole = (value) => StringOf(typeof value === "symbol" || typeof value === "object" ? NaN : trunc(NumberOf(value)));
  const formatted = (letter, value) => {
    if (letter === "s") return typeof value === "object" && value !== null ? shown(value, [], 0) : StringOf(value);
    if (letter === "d" || letter === "i") {
      if (typeof value === "bigint") return StringOf(value) + "n";
      return letter === "i" ? whole(value) : StringOf(typeof value === "symbol" || typeof value === "object" ? NaN : NumberOf(value));
    }
    if (letter === "f") return StringOf(typeof value === "symbol" ? NaN : NumberOf(value));
    if (letter === "c") return "";
    return shown(value, [], letter === "j" ? 0 : 1);
  };
  const LETTERS = "sdifjoOc";
  const lineOf = (values) => {
    let at = 1;
    let text = "";
    if (values.length > 1 && typeof values[0] === "string") {
      let rest = values[0];
      for (let found = indexOf(rest, "%"); found >= 0; found = indexOf(rest, "%")) {
        const letter = rest[found + 1] ?? "";
        text += slice(rest, 0, found);
        if (letter === "%") text += "%";
        else if (letter !== "" && indexOf(LETTERS, letter) >= 0 && at < values.length) text += formatted(letter, values[at++]);
        else text += "%" + letter;
        rest = slice(rest, found + 1 + letter.length);
      }
      text += rest;
    } else if (values.length > 0) text = word(values[0]);
    for (; at < values.length; at++) text += " " + word(values[at]);
    return text;
  };

  let indent = "";
  const LEVELS = { __proto__: null, trace: 0, debug: 1, log: 2, info: 2, warn: 3, error: 4 };
  const write = (level, text) => {
    try {
      log(level, indent === "" ? text : indent + replaceAll(text, "\n", "\n" + indent));
    } catch {} // asked for by a getter of a value that is being written: there is no place for it
  };
  const say = (level, values) => {
    let text = NO_TEXT;
    try {
      text = lineOf(values);
    } catch {} // %s of what has no text
    write(level, text);
  };

  // ── counters, clocks, tables ──────────────────────────────────────────────────────────────────────────────────────────
  const counters = newMap();
  const clocks = newMap();
  const labelOf = (label) => (label === undefined ? "default" : word(label));
  const elapsed = (label, values) => {
    const begun = clocks.get(label);
    if (begun === undefined) return write(LEVELS.warn, "there is no timer " + stringify(label));
    const line = [label + ": " + StringOf(now() - begun) + "ms"];
    for (let i = 0; i < values.length; i++) push(line, values[i]);
    say(LEVELS.log, line);
  };

  // Rows of what was given; a value that is no container stands in a column of its own.
  const rowsOf = (data) => {
    const rows = [];
    const add = (index, value) => {
      const cells = { __proto__: null };
      if (typeof value === "object" && value !== null) {
        const names = ownKeys(value);
        for (let i = 0; i < names.length; i++) {
          const field = typeof names[i] === "string" ? getOwnPropertyDescriptor(value, names[i]) : undefined;
          if (field !== undefined && field.enumerable) cells[names[i]] = shown(value[names[i]], [], 1);
        }
      } else cells.Values = shown(value, [], 1);
      push(rows, [StringOf(index), cells]);
    };
    if (isMap(data)) eachOfMap(data, (value, key) => add(word(key), value));
    else if (isSet(data)) {
      let index = 0;
      eachOfSet(data, (value) => add(index++, value));
    } else {
      const names = ownKeys(data);
      for (let i = 0; i < names.length; i++) {
        if (typeof names[i] === "string" && getOwnPropertyDescriptor(data, names[i]).enumerable) add(names[i], data[names[i]]);
      }
    }
    return rows;
  };
  const columnsOf = (rows, wanted) => {
    const columns = [];
    if (isArray(wanted)) for (let i = 0; i < wanted.length; i++) push(columns, StringOf(wanted[i]));
    else {
      const known = { __proto__: null };
      for (let i = 0; i < rows.length; i++) {
        const names = ownKeys(rows[i][1]);
        for (let n = 0; n < names.length; n++) {
          if (!known[names[n]] && names[n] !== "Values") push(columns, names[n]);
          known[names[n]] = true;
        }
      }
      if (known.Values) push(columns, "Values");
    }
    return columns;
  };
  const tableOf = (data, wanted) => {
    const rows = rowsOf(data);
    const columns = columnsOf(rows, wanted);
    const lines = [""];
    for (let i = 0; i < rows.length; i++) push(lines, "");
    const column = (head, cellOf) => {
      let width = head.length;
      for (let i = 0; i < rows.length; i++) if (cellOf(rows[i]).length > width) width = cellOf(rows[i]).length;
      for (let i = 0; i < lines.length; i++) {
        lines[i] += (lines[i] === "" ? "" : " | ") + padEnd(i === 0 ? head : cellOf(rows[i - 1]), width);
      }
    };
    column("(index)", (row) => row[0]);
    for (let i = 0; i < columns.length; i++) column(columns[i], (row) => row[1][columns[i]] ?? "");
    let text = lines[0];
    for (let i = 1; i < lines.length; i++) text += "\n" + lines[i];
    return text;
  };

  const console = {
    trace: (...values) => say(LEVELS.trace, values),
    debug: (...values) => say(LEVELS.debug, values),
    log: (...values) => say(LEVELS.log, values),
    info: (...values) => say(LEVELS.info, values),
    warn: (...values) => say(LEVELS.warn, values),
    error: (...values) => say(LEVELS.error, values),
    assert(holds, ...values) {
      if (holds) return;
      if (values.length > 0 && typeof values[0] === "string") values[0] = "Assertion failed: " + values[0];
      else {
        const line = ["Assertion failed" + (values.length ? ":" : "")];
        for (let i = 0; i < values.length; i++) push(line, values[i]);
        return say(LEVELS.error, line);
      }
      say(LEVELS.error, values);
    },
    dir: (value) => write(LEVELS.log, word(value)),
    dirxml: (...values) => say(LEVELS.log, values),
    table(data, columns) {
      if (typeof data !== "object" || data === null) return say(LEVELS.log, [data]);
      let text = NO_TEXT;
      try {
        text = tableOf(data, columns);
      } catch {} // getters of the data
      write(LEVELS.log, text);
    },
    group(...values) {
      if (values.length) say(LEVELS.log, values);
      if (indent.length < 200) indent += "  ";
    },
    groupCollapsed: (...values) => console.group(...values),
    groupEnd() {
      indent = slice(indent, 2);
    },
    time(label) {
      const name = labelOf(label);
      if (clocks.has(name)) return write(LEVELS.warn, "the timer " + stringify(name) + " is there already");
      clocks.set(name, now());
    },
    timeLog: (label, ...values) => elapsed(labelOf(label), values),
    timeEnd(label) {
      const name = labelOf(label);
      elapsed(name, []);
      clocks.delete(name);
    },
    count(label) {
      const name = labelOf(label);
      const count = (counters.get(name) ?? 0) + 1;
      counters.set(name, count);
      write(LEVELS.log, name + ": " + StringOf(count));
    },
    countReset(label) {
      counters.delete(labelOf(label));
    },
    clear() {},
  };
  const { group } = console;
  console.groupCollapsed = group;
  const names = ownKeys(console);
  for (let i = 0; i < names.length; i++) hide(console, names[i], console[names[i]]);
  define("console", console);

  // What nobody has caught when an event is through; what a listener threw.
  const report = (what, reason) => {
    let text = NO_TEXT;
    try {
      text = isError(reason) ? placed(reason) : shown(reason, [], 0);
    } catch {} // an error that cannot be shown
    write(LEVELS.error, what + ": " + text);
  };
  const traceOf = cloche.own.traceOf;
  const placed = (error) => {
    const trace = traceOf(error);
    const found = typeof trace === "string" ? indexOf(trace, "workflow.js:") : -1;
    if (found < 0) return errorShown(error, []);
    let end = found;
    while (end < trace.length && trace[end] !== ")" && trace[end] !== "\n") end++;
    return errorShown(error, []) + " (" + slice(trace, found, end) + ")";
  };
  cloche.own.report = report;
  unhandled((reason) => report("a promise was rejected, and nobody has handled it", reason));
}
