// The helpers of generated code: what `cloche_codegen` emits calls these by name. One expression: called once, while
// the base image is baked, with the namespace object `cloche`, which already holds step, sleep, sleepUntil, entered and
// left; it is frozen afterwards. Nothing here is random or timed. Everything of the language that is used later is
// taken now, because workflow code may change Array.prototype and its like; the `await` operator needs none of them.
//
// `path` is the identity of a call (see ABI.md); `id` is only for messages. A call is a function that gives a promise.
(cloche) => {
  "use strict";

  const { entered, left } = cloche;
  const { hasOwn, keys, defineProperty } = Object;
  const { isArray, from } = Array;
  const { isView } = ArrayBuffer;
  const { floor, round } = Math;
  const { stringify } = JSON;
  const { isFinite } = Number;
  const { parse: parseDate } = Date;
  const unbound = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);
  const isoText = unbound(Date.prototype.toISOString);
  const timeOf = unbound(Date.prototype.getTime);
  const matches = unbound(RegExp.prototype.test);
  const [ErrorOf, TypeErrorOf, PromiseOf, StringOf, NumberOf, DateOf] = [Error, TypeError, Promise, String, Number, Date];

  // ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────
  // An own property, whatever its name (`__proto__` is data) and whatever setters a prototype has been given.
  const put = (object, key, value) =>
    defineProperty(object, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });

  // A list of `count` own elements, so that assigning to one never asks a prototype.
  const listOf = (count) => from({ __proto__: null, length: count });

  const isNumber = (value) => typeof value === "number" || typeof value === "bigint";
  const isDate = (value) => value instanceof DateOf;
  const hasKeys = (value) => typeof value === "object" && value !== null && !isDate(value) && !isView(value);

  // Own properties along the keys; undefined as soon as one is missing.
  const get = (value, ...path) => {
    for (let i = 0; i < path.length; i++) {
      if (!hasKeys(value) || !hasOwn(value, path[i])) return undefined;
      value = value[path[i]];
    }
    return value;
  };

  const invalidPath = (label, path) => {
    let text = "";
    for (let i = 0; i < path.length; i++) text += (i ? "." : "") + path[i];
    return new ErrorOf(`Invalid path ${text || "."} in ${label}`);
  };

  // The same, but a key missing before the last is an error.
  const read = (label, value, ...path) => {
    for (let i = 0; i < path.length; i++) {
      if (!hasKeys(value)) throw invalidPath(label, path);
      value = hasOwn(value, path[i]) ? value[path[i]] : undefined;
    }
    return value;
  };

  // The same in the result of a step: a step without one (it never ran, or gave null) is an error too.
  const result = (label, value, ...path) => {
    if (value === undefined || value === null) throw invalidPath(label, path);
    return read(label, value, ...path);
  };

  // The first result that is there.
  const first = (...results) => {
    for (let i = 0; i < results.length; i++) if (results[i] !== undefined && results[i] !== null) return results[i];
    return undefined;
  };

  // The output of an arm of a settled block, undefined if it failed.
  const settled = (block, id) => {
    const outcome = get(block, id);
    return get(outcome, "status") === "success" ? get(outcome, "output") : undefined;
  };

  // getStepResult of a code string: null for a step without a result.
  const lookUp = (results) => (id) => {
    const key = typeof id === "string" ? id : get(id, "id");
    return typeof key === "string" && hasOwn(results, key) ? results[key] ?? null : null;
  };

  const lookUps = (results) => ({ stepResults: results, getStepResult: lookUp(results) });

  // An object without its undefined fields.
  const defined = (object) => {
    const made = {};
    const names = keys(object);
    for (let i = 0; i < names.length; i++) if (object[names[i]] !== undefined) put(made, names[i], object[names[i]]);
    return made;
  };

  // Compact JSON; unlike JSON.stringify it asks no toJSON and can write a BigInt (as its digits).
  const json = (value) => {
    if (value === undefined || value === null) return "null";
    if (typeof value === "string") return stringify(value);
    if (isDate(value)) return stringify(isoText(value));
    if (typeof value !== "object") return StringOf(value);
    let text = "";
    if (isArray(value) || isView(value)) {
      for (let i = 0; i < value.length; i++) text += (i ? "," : "") + json(value[i]);
      return `[${text}]`;
    }
    const names = keys(value);
    for (let i = 0; i < names.length; i++) {
      if (value[names[i]] !== undefined) text += `${text && ","}${stringify(names[i])}:${json(value[names[i]])}`;
    }
    return `{${text}}`;
  };

  // A text of parts: null as nothing, objects and lists as JSON, a date as its ISO text, the rest as JavaScript text.
  const text = (...parts) => {
    let whole = "";
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i];
      if (part === undefined || part === null) continue;
      whole += typeof part === "string" ? part : isDate(part) ? isoText(part) : json(part);
    }
    return whole;
  };

  // ── the table of meanings: undefined is a missing path ────────────────────────────────────────────────────────────
  // Strict equality, except that a BigInt equals the number of the same value.
  const same = (left, right) => (isNumber(left) && isNumber(right) ? left == right : left === right);
  const there = (left, right) => left !== undefined && right !== undefined;
  // Numbers have an order, and texts; nothing else has.
  const ordered = (left, right) =>
    (isNumber(left) && isNumber(right)) || (typeof left === "string" && typeof right === "string");

  const eq = (left, right) => there(left, right) && same(left, right);
  const ne = (left, right) => there(left, right) && !same(left, right);
  const lt = (left, right) => ordered(left, right) && left < right;
  const lte = (left, right) => ordered(left, right) && left <= right;
  const gt = (left, right) => ordered(left, right) && left > right;
  const gte = (left, right) => ordered(left, right) && left >= right;
  const isIn = (value, items) => {
    if (value === undefined || !isArray(items)) return false;
    for (let i = 0; i < items.length; i++) if (same(value, items[i])) return true;
    return false;
  };
  const notIn = (value, items) => !isIn(value, items);
  const exists = (value) => value !== undefined;
  const notExists = (value) => value === undefined;
  const truthy = (value) => !!value;
  const falsy = (value) => !value;

  // ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────
  const shown = (error) => {
    try {
      return error instanceof ErrorOf ? `${error.name}: ${error.message}` : StringOf(error);
    } catch {
      return "an error that cannot be shown";
    }
  };

  const named = (name, message, cause) => {
    const error = new ErrorOf(message, { __proto__: null, cause });
    defineProperty(error, "name", { __proto__: null, value: name, writable: true, configurable: true });
    return error;
  };

  // Compute something the author wrote; what it raises becomes an error that says where.
  const evaluated = (name, what, compute) => {
    let value;
    try {
      value = compute();
    } catch (error) {
      throw named(name, `${what} failed: ${shown(error)}`, error);
    }
    if (value instanceof PromiseOf) throw named(name, `${what} gave a promise; it must be a plain expression`);
    return value;
  };

  // A failure as data: what an Error becomes when it crosses the glass.
  const failureOf = (error) => {
    if (!(error instanceof ErrorOf)) return defined({ name: "Error", message: StringOf(error), data: error });
    const { name, message, data, cause } = error;
    return defined({
      name: StringOf(name),
      message: StringOf(message),
      data,
      cause: cause instanceof ErrorOf ? failureOf(cause) : undefined,
    });
  };

  const settledOf = ({ ok, value }) =>
    ok ? defined({ status: "success", output: value }) : { status: "failed", error: failureOf(value) };

  // ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  // The outcome of a call, never a rejection.
  const outcomeOf = async (call) => {
    try {
      return { ok: true, value: await call() };
    } catch (error) {
      return { ok: false, value: error };
    }
  };

  // Make `count` calls, at most `width` at once, the next as a slot frees; ends when every call that began has ended.
  // `call(i)` says whether to go on. Memory: one pending call per slot.
  const pool = async (count, width, call) => {
    let next = 0;
    let open = true;
    const slot = async () => {
      while (open && next < count) if (!(await call(next++))) open = false;
    };
    const slots = listOf(width < count ? width : count);
    for (let i = 0; i < slots.length; i++) slots[i] = slot();
    for (let i = 0; i < slots.length; i++) await slots[i];
  };

  // Run arms `[id, call]`; the results by id. Waits for all of them, then the first in order that failed is thrown.
  const together = async (arms, limit, settle) => {
    const outcomes = listOf(arms.length);
    const callOf = (i) => outcomeOf(arms[i][arms[i].length - 1]);
    if (limit >= arms.length) {
      for (let i = 0; i < arms.length; i++) outcomes[i] = callOf(i);
      for (let i = 0; i < arms.length; i++) outcomes[i] = await outcomes[i];
    } else {
      await pool(arms.length, limit, async (i) => {
        outcomes[i] = await callOf(i);
        return true;
      });
    }
    const results = {};
    for (let i = 0; i < arms.length; i++) {
      const outcome = outcomes[i];
      if (!outcome.ok && !settle) throw outcome.value;
      const value = settle ? settledOf(outcome) : outcome.value;
      if (value !== undefined) put(results, arms[i][0], value);
    }
    return results;
  };

  // parallel([[id, call] …], {limit?, settle?})
  const parallel = (arms, options) => together(arms, options?.limit ?? arms.length, options?.settle === true);

  const holds = (block, arm) =>
    !!evaluated("ConditionError", `the condition of ${stringify(arm[0])} in ${stringify(block)}`, arm[1]);

  // branch(id, [[id, test, call] …]): every test first, in order, then every arm whose test held, at once.
  const branch = async (id, arms) => {
    const taken = [];
    for (let i = 0; i < arms.length; i++) if (holds(id, arms[i])) put(taken, taken.length, arms[i]);
    return together(taken, taken.length, false);
  };

  // choose(id, [[id, test, call] …], [id, call]?): the first whose test holds, else the last, else an empty object.
  const choose = async (id, arms, otherwise) => {
    for (let i = 0; i < arms.length; i++) if (holds(id, arms[i])) return together([arms[i]], 1, false);
    return otherwise ? together([otherwise], 1, false) : {};
  };

  // The body, then the test, until its truth is `until`. `body(value, path)`, `test(value, turn)`, turns from 1.
  const loop = async (path, value, body, test, until) => {
    const what = `the condition of the loop over ${stringify(path)}`;
    for (let turn = 1; ; turn++) {
      value = await body(value, `${path}[${turn}]`);
      if (!!evaluated("ConditionError", what, () => test(value, turn)) === until) return value;
    }
  };
  const dountil = (path, value, body, test) => loop(path, value, body, test, true);
  const dowhile = (path, value, body, test) => loop(path, value, body, test, false);

  // Something that is entered and left, so that the host can show a value only the guest knows.
  const within = async (path, value, call) => {
    entered(path, value);
    const outcome = await outcomeOf(call);
    left(path, [outcome.ok ? 0 : 1, outcome.value]);
    if (!outcome.ok) throw outcome.value;
    return outcome.value;
  };

  // Anything that is not a number from 1 is 1; fractions are cut off.
  const widthOf = (value) => {
    const width = isNumber(value) ? NumberOf(value) : 1;
    return width >= 1 ? floor(width) : 1;
  };

  // foreach(path, list, body(item, path), {concurrency?: number | () => number, collect?})
  const foreach = (path, list, body, options) =>
    within(path, list, async () => {
      if (!isArray(list)) {
        const kind = list === null ? "null" : typeof list === "object" ? "an object" : `a ${typeof list}`;
        throw new TypeErrorOf(`foreach over ${stringify(path)} needs a list, not ${kind}`);
      }
      const asked = options?.concurrency ?? 1;
      const what = `the concurrency of foreach over ${stringify(path)}`;
      const width = widthOf(typeof asked === "function" ? evaluated("ExpressionError", what, asked) : asked);
      const collect = options?.collect === true;
      const results = listOf(list.length);
      let failed = null;
      await pool(list.length, width, async (i) => {
        const outcome = await outcomeOf(() => body(list[i], `${path}[${i}]`));
        results[i] = collect ? settledOf(outcome) : outcome.value;
        if (!outcome.ok && !collect) failed ??= outcome;
        return failed === null;
      });
      if (failed !== null) throw failed.value;
      return results;
    });

  // nested(path, input, workflow(input, path, given), given?)
  const nested = (path, value, workflow, given) => within(path, value, () => workflow(value, path, given));

  // map(path, input, compute): entered and left like a nested workflow, but without waiting.
  const map = (path, value, compute) => {
    entered(path, value);
    let made;
    try {
      made = compute();
      if (made instanceof PromiseOf) throw new TypeErrorOf(`map ${stringify(path)} gave a promise, not a value`);
    } catch (error) {
      left(path, [1, error]);
      throw error;
    }
    left(path, [0, made]);
    return made;
  };

  // ── durations ─────────────────────────────────────────────────────────────────────────────────────────────────────
  const INSTANT_MAX = 8.64e15; // the last millisecond a Date can hold
  const INSTANT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

  // Milliseconds of a number of seconds that is computed now; missing or negative is none.
  const seconds = (id, compute) => {
    const what = `the duration of ${stringify(id)}`;
    const value = evaluated("ExpressionError", what, compute) ?? 0;
    const ms = isNumber(value) ? round(NumberOf(value) * 1000) : NaN;
    if (!isFinite(ms) || ms > INSTANT_MAX) throw named("ExpressionError", `${what} is no number of seconds: ${json(value)}`);
    return ms > 0 ? ms : 0;
  };

  // Milliseconds since the epoch of an instant that is computed now: a Date, such a number, or RFC 3339 text.
  const instant = (id, compute) => {
    const what = `the instant of ${stringify(id)}`;
    const value = evaluated("ExpressionError", what, compute);
    const text = typeof value === "string" && matches(INSTANT, value);
    const ms = isDate(value) ? timeOf(value) : isNumber(value) ? round(NumberOf(value)) : text ? parseDate(value) : NaN;
    if (!(ms <= INSTANT_MAX && ms >= -INSTANT_MAX)) {
      throw named("ExpressionError", `${what} is no date, RFC 3339 text or milliseconds: ${value === undefined ? "nothing" : json(value)}`);
    }
    return ms;
  };

  const helpers = {
    nested, map, parallel, branch, choose, dountil, dowhile, foreach, seconds, instant,
    get, read, result, first, settled, lookUp, lookUps, defined, text,
    eq, ne, lt, lte, gt, gte, isIn, notIn, exists, notExists, truthy, falsy,
  };
  const names = keys(helpers);
  for (let i = 0; i < names.length; i++) put(cloche, names[i], helpers[names[i]]);
}
