// The helpers of generated code: what `cloche_codegen` emits calls these by name. One expression: called once, while
// the base image is baked, with the namespace object `cloche`, which already holds step, sleep, sleepUntil, entered and
// left; it is frozen afterwards. Nothing here is random or timed. Everything of the language that is used later is
// taken now, because workflow code may change Array.prototype and its like; the `await` operator needs none of them. A template
// does: to QuickJS it is a call of String.prototype.concat. So does what asks for an iterator: spreading, taking lists apart.
//
// `path` is the identity of a call (see ABI.md); `id` is only for messages. A call is a function that gives a promise.
(cloche) => {
  "use strict";

  const { entered, left, listen, openCalls, drop, abandon, hook, sleep } = cloche;
  const { hasOwn, keys, defineProperty, freeze, setPrototypeOf } = Object;
  const { isArray, from } = Array;
  const { isView } = ArrayBuffer;
  const { floor, round } = Math;
  const { stringify } = JSON;
  const { isFinite } = Number;
  const { parse: parseDate } = Date;
  const unbound = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);
  const isoText = unbound(Date.prototype.toISOString);
  const timeOf = unbound(Date.prototype.getTime);
  const execute = unbound(RegExp.prototype.exec);
  const matches = (pattern, text) => execute(pattern, text) !== null; // `test` would ask for `exec`, which code may overwrite
  const slice = unbound(String.prototype.slice);
  const normalize = unbound(String.prototype.normalize);
  const [ErrorOf, TypeErrorOf, RangeErrorOf, PromiseOf, StringOf, NumberOf, DateOf] = [Error, TypeError, RangeError, Promise, String, Number, Date];

  // ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────
  // An own property, whatever its name (`__proto__` is data) and whatever setters a prototype has been given.
  const property = { __proto__: null, value: undefined, writable: true, enumerable: true, configurable: true };
  const put = (object, key, value) => {
    property.value = value; // one descriptor for all: making one takes longer than defining a property
    defineProperty(object, key, property);
    property.value = undefined;
  };

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
    return new ErrorOf("Invalid path " + (text || ".") + " in " + label);
  };

  // The same, but a key missing before the last is an error.
  const walk = (label, value, path) => {
    for (let i = 0; i < path.length; i++) {
      if (!hasKeys(value)) throw invalidPath(label, path);
      value = hasOwn(value, path[i]) ? value[path[i]] : undefined;
    }
    return value;
  };
  const read = (label, value, ...path) => walk(label, value, path);

  // The same in the result of a step: a step without one (it never ran, or gave null) is an error too.
  const result = (label, value, ...path) => {
    if (value === undefined || value === null) throw invalidPath(label, path);
    return walk(label, value, path);
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
      return "[" + text + "]";
    }
    const names = keys(value);
    for (let i = 0; i < names.length; i++) {
      if (value[names[i]] !== undefined) text += (text && ",") + stringify(names[i]) + ":" + json(value[names[i]]);
    }
    return "{" + text + "}";
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
      return error instanceof ErrorOf ? StringOf(error.name) + ": " + StringOf(error.message) : StringOf(error);
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
      throw named(name, what + " failed: " + shown(error), error);
    }
    if (value instanceof PromiseOf) throw named(name, what + " gave a promise; it must be a plain expression");
    return value;
  };

  // A list that an Error has, or undefined.
  const itemsOf = (list, of = (item) => item) =>
    isArray(list) && list.length > 0 ? from({ __proto__: null, length: list.length }, (_, index) => of(list[index])) : undefined;

  // A failure as data: what an Error becomes when it crosses the glass.
  const failureOf = (error) => {
    if (!(error instanceof ErrorOf)) return defined({ name: "Error", message: StringOf(error), data: error });
    const { name, message, data, bases, cause, notes, errors } = error;
    return defined({
      name: StringOf(name),
      message: StringOf(message),
      data,
      bases: itemsOf(bases),
      cause: cause instanceof ErrorOf ? failureOf(cause) : undefined,
      notes: itemsOf(notes),
      members: itemsOf(errors, failureOf),
    });
  };

  const succeededAs = (value) => defined({ status: "success", output: value });
  const failedAs = (error) => ({ status: "failed", error: failureOf(error) });

  // ── leaving early ─────────────────────────────────────────────────────────────────────────────────────────────────
  // What the call of a step that bailed is rejected with. No class and no constructor leads back from one, so workflow
  // code that catches it can neither make another nor read its value; thrown on, it is what it was.
  const Bare = function (object) {
    return object;
  };
  class Bail extends Bare {
    #value;
    constructor(value) {
      super({ __proto__: null });
      this.#value = value;
      freeze(this);
    }
    static is = (reason) => typeof reason === "object" && reason !== null && #value in reason;
    static value = (reason) => reason.#value;
  }
  const { is: isBail, value: valueOf } = Bail;

  listen("bailed", (value) => new Bail(value));
  listen("bailValue", (reason) => (isBail(reason) ? [valueOf(reason)] : undefined));

  // ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  // A block is several arms that run side by side. It ends when every arm is settled, and it also ends, as a failure, when
  // one has failed and all others that began are settled or wait for outside data; until then it stays pending, and is
  // *quiet* when all that began and have not settled wait for outside data. A nested workflow in which such a block
  // stands waits for outside data itself, and so on upwards.
  //
  // Open blocks are found by where they stand: `key` is the path of the workflow around them ("" in the run itself), and
  // that of the arm `id` is `key/id`. The items of a foreach with the path `key` stand at `key[i]`. A workflow does one
  // thing after the other, so there is one open block at a place.
  const blocks = setPrototypeOf(new Map(), freeze({
    __proto__: null, get: Map.prototype.get, set: Map.prototype.set, delete: Map.prototype.delete, forEach: Map.prototype.forEach,
  }));

  const ACTIVE = 1; // 0: not begun
  const QUIET = 2;
  const SUCCEEDED = 3;
  const FAILED = 4;

  // Which arm of the block a part of a path names: the text up to the next cut, "id" or "i]"; -1 if none.
  const armNamed = (block, part) => {
    if (block.ids === null) return NumberOf(slice(part, 0, -1));
    if (block.indexes === null) {
      block.indexes = { __proto__: null };
      for (let i = 0; i < block.count; i++) block.indexes[block.ids[i][0]] = i;
    }
    return block.indexes[part] ?? -1;
  };

  // Calls `found(block, arm)` with the innermost open block around a path, and which of its arms it is in.
  const around = (path, found) => {
    let end = path.length;
    for (let i = end - 1; i >= 0; i--) {
      if (path[i] !== "/" && path[i] !== "[") continue;
      const block = blocks.get(slice(path, 0, i));
      if (block !== undefined && (block.ids === null) === (path[i] === "[")) return found(block, armNamed(block, slice(path, i + 1, end)));
      end = i;
    }
    const block = end > 0 ? blocks.get("") : undefined;
    if (block !== undefined && block.ids !== null) found(block, armNamed(block, slice(path, 0, end)));
  };

  // Where a path stands in a block: the arm, or -1 if it is not in the block or its arm is done.
  const openArm = (block, path) => {
    const { key } = block;
    let start = 0;
    if (key !== "" || block.ids === null) {
      start = key.length + 1;
      if (path.length <= start || path[start - 1] !== (block.ids === null ? "[" : "/") || slice(path, 0, start - 1) !== key) return -1;
    }
    let end = start;
    while (end < path.length && path[end] !== "/" && path[end] !== "[") end++;
    const arm = armNamed(block, slice(path, start, end));
    return block.states[arm] === ACTIVE || block.states[arm] === QUIET ? arm : -1;
  };

  // An arm, or the workflow that a block stands in, waits for outside data or does no longer.
  const tell = (path, quiet) =>
    around(path, (block, arm) => {
      if (block.states[arm] !== (quiet ? ACTIVE : QUIET)) return;
      block.states[arm] = quiet ? QUIET : ACTIVE;
      block.active += quiet ? -1 : 1;
      block.quiet += quiet ? 1 : -1;
      advance(block);
    });
  listen("suspended", tell);

  const becomes = (block, asleep) => {
    if (block.asleep === asleep) return;
    block.asleep = asleep;
    tell(block.key, asleep);
  };

  // Whoever is still open below the arms of a block that ends is not waited for. `tellHost`: the host learns it from here;
  // else it learns it from the failure or the end of the workflow around it.
  const dropRest = (block, tellHost) => {
    const open = openCalls();
    for (let i = 0; i < open.length; i += 2) if (openArm(block, open[i + 1]) >= 0) drop(open[i], tellHost);
    blocks.forEach((inner, key) => {
      if (openArm(block, key) < 0) return;
      inner.open = false;
      blocks.delete(key);
    });
  };

  const close = (block, tellHost) => {
    block.open = false;
    if (blocks.get(block.key) === block) blocks.delete(block.key);
    becomes(block, false);
    if (block.active + block.quiet > 0) dropRest(block, tellHost);
  };

  const fail = (block, error) => {
    close(block, false);
    block.reject(error);
  };

  // As a settled block gives it, with the id of an arm; one that was not waited for is `canceled`.
  const outcomeOf = (block, arm) => {
    const value = block.values[arm];
    const state = block.states[arm];
    const ended = state === SUCCEEDED ? succeededAs(value) : state === FAILED ? failedAs(value) : { status: "canceled" };
    if (block.ids !== null) put(ended, "name", block.ids[arm][0]);
    return ended;
  };

  // The first failure in the order of the arms. Where a policy says how many have to succeed, how each ended, with that failure as
  // the cause; without one, there never were enough of them.
  const failFirst = (block) => {
    let first = -1;
    for (let i = 0; i < block.count && first < 0; i++) if (block.states[i] === FAILED) first = i;
    if (first >= 0 && block.waits) return fail(block, block.values[first]);
    const told =
      first < 0
        ? block.what + " needs " + block.least + " to succeed and has " + block.count
        : block.what + ": of " + block.count + ", " + block.succeeded + " have succeeded and " + block.failed + " have failed; the first: " + shown(block.values[first]);
    const error = named("CompletionError", told, first < 0 ? undefined : block.values[first]);
    const items = listOf(block.count);
    for (let i = 0; i < block.count; i++) put(items, i, outcomeOf(block, i));
    put(error, "data", { reason: block.least === Infinity ? "tolerated_failures" : "min_successes", items });
    fail(block, error);
  };

  const succeed = (block) => {
    close(block, true);
    block.resolve(block.gather(block));
  };

  const settleArm = (block, arm, state, value) => {
    if (!block.open) return;
    if (state === FAILED) {
      if (isBail(value)) return fail(block, value);
      if (block.collect) value = failedAs(value);
    } else if (block.collect) value = succeededAs(value);
    if (block.collect) state = SUCCEEDED;
    if (block.states[arm] === QUIET) block.quiet--;
    else block.active--;
    block.states[arm] = state;
    block.values[arm] = value;
    if (state === FAILED) block.failed++;
    else block.succeeded++;
    advance(block);
  };

  const callOf = (arm) => arm[arm.length - 1]();

  const run = async (block, arm) => {
    block.states[arm] = ACTIVE;
    block.active++;
    let value;
    try {
      value = await (block.ids === null ? block.call(arm) : callOf(block.ids[arm]));
    } catch (error) {
      return settleArm(block, arm, FAILED, error);
    }
    settleArm(block, arm, SUCCEEDED, value);
  };

  // After anything happened to an arm: end, begin further arms, or wait.
  const advance = (block) => {
    if (!block.open) return;
    if (block.succeeded >= block.least) return succeed(block);
    if (block.failed > block.tolerated) return failFirst(block);
    const stopped = block.stops && block.failed > 0;
    while (block.open && !stopped && block.next < block.count && block.active + block.quiet < block.width) run(block, block.next++);
    if (!block.open) return;
    if (block.active > 0) becomes(block, false);
    else if (block.failed > 0 && block.waits) failFirst(block);
    else if (block.quiet === 0) succeed(block);
    else becomes(block, true);
  };

  // `arms`: how many, and `ids`, the arms `[id, …, call]`, or in a foreach null and `call(item)`; `width`: how many at once;
  // `gather` makes the result.
  // A failure lets the arms of a block begin all the same, but no further item of a foreach. Options:
  //   settle, collect    nothing fails the block, every arm gives how it ended
  //   minSuccesses       ends well, at once, when so many have succeeded; fails, at once, when so many no longer can
  //   toleratedFailures  fails, at once, when more than so many have failed; fewer are left out of the result
  const NO_OPTIONS = { __proto__: null };
  const isPicky = ({ minSuccesses, toleratedFailures }) => minSuccesses !== undefined || toleratedFailures !== undefined;

  const side = (key, what, arms, width, options, gather) =>
    new PromiseOf((resolve, reject) => {
      const { count, ids, call } = arms;
      const collect = options.collect === true || options.settle === true;
      const least = options.minSuccesses ?? Infinity;
      const picky = isPicky(options);
      let tolerated = options.toleratedFailures ?? Infinity;
      if (least !== Infinity && count - least < tolerated) tolerated = count - least;
      const block = {
        __proto__: null, key, what, count, ids, call, width, gather, collect, least, tolerated, resolve, reject,
        stops: ids === null && !picky, // does a failure end the queue,
        waits: !picky, // and is it reported once all others that began are done?
        states: listOf(count), values: listOf(count), indexes: null,
        next: 0, active: 0, quiet: 0, succeeded: 0, failed: 0, open: true, asleep: false,
      };
      blocks.set(key, block);
      advance(block);
    });

  const keyed = ({ ids, count, states, values }) => {
    const results = {};
    for (let i = 0; i < count; i++) if (states[i] === SUCCEEDED && values[i] !== undefined) put(results, ids[i][0], values[i]);
    return results;
  };

  const listed = ({ values }) => values;

  // Of a foreach that tolerates failures: the outputs of the items that succeeded.
  const listedOnly = ({ count, states, values }) => {
    const results = [];
    for (let i = 0; i < count; i++) if (states[i] === SUCCEEDED) put(results, results.length, values[i]);
    return results;
  };

  // Arms `[id, …, call]`; the results by id.
  const together = (at, what, arms, width, options) =>
    side(at ?? "", what, { count: arms.length, ids: arms, call: null }, width, options, keyed);

  // One arm and nothing beside it: whatever it waits for, the workflow around it waits for.
  const alone = async (arm) => {
    const value = await callOf(arm);
    const results = {};
    if (value !== undefined) put(results, arm[0], value);
    return results;
  };

  // What was given, and nothing that a prototype has been given.
  const ownOf = (options) => {
    const own = { __proto__: null };
    const names = options === undefined ? [] : keys(options);
    for (let i = 0; i < names.length; i++) own[names[i]] = options[names[i]];
    return own;
  };

  // parallel([[id, call] …], {at?, limit?, settle?, minSuccesses?, toleratedFailures?})
  const parallel = (arms, given) => {
    const options = ownOf(given);
    return together(options.at, "the parallel block", arms, options.limit ?? arms.length, options);
  };

  const holds = (block, arm) =>
    !!evaluated("ConditionError", "the condition of " + stringify(arm[0]) + " in " + stringify(block), arm[1]);

  // branch(id, [[id, test, call] …], at?): every test first, in order, then every arm whose test held, at once.
  const branch = async (id, arms, at) => {
    const taken = [];
    for (let i = 0; i < arms.length; i++) if (holds(id, arms[i])) put(taken, taken.length, arms[i]);
    // Awaited, because a promise that is returned is waited for by its `then`, which workflow code may have changed.
    if (taken.length === 1) return await alone(taken[0]);
    return taken.length === 0 ? {} : await together(at, "", taken, taken.length, NO_OPTIONS);
  };

  // choose(id, [[id, test, call] …], [id, call]?): the first whose test holds, else the last, else an empty object.
  const choose = async (id, arms, otherwise) => {
    for (let i = 0; i < arms.length; i++) if (holds(id, arms[i])) return await alone(arms[i]);
    return otherwise ? await alone(otherwise) : {};
  };

  // The body, then the test, until its truth is `until`. `body(value, path)`, `test(value, turn)`, turns from 1.
  const loop = async (path, value, body, test, until) => {
    const what = "the condition of the loop over " + stringify(path);
    for (let turn = 1; ; turn++) {
      value = await body(value, path + "[" + turn + "]");
      if (!!evaluated("ConditionError", what, () => test(value, turn)) === until) return value;
    }
  };
  const dountil = (path, value, body, test) => loop(path, value, body, test, true);
  const dowhile = (path, value, body, test) => loop(path, value, body, test, false);

  // Call what undoes the steps that were done, the last one first; one that fails keeps none of the others from it. A bail
  // undoes nothing: it ends the workflow well.
  const undone = async (undo, error) => {
    if (isBail(error)) return;
    for (let i = undo.length - 1; i >= 0; i--) {
      try {
        await undo[i]();
      } catch (failed) {
        if (isBail(failed)) throw failed;
      }
    }
  };

  // Something that is entered and left, so that the host can show a value only the guest knows. `bails`: a step that
  // bails inside ends it, well; otherwise that passes through, and what it ends is all that is left.
  const within = async (path, value, call, bails) => {
    entered(path, value);
    let made;
    try {
      made = await call();
    } catch (error) {
      if (!isBail(error)) {
        left(path, [1, error]);
        throw error;
      }
      if (!bails) throw error;
      made = valueOf(error);
    }
    left(path, [0, made]);
    return made;
  };

  // Anything that is not a number from 1 is 1; fractions are cut off.
  const widthOf = (value) => {
    const width = isNumber(value) ? NumberOf(value) : 1;
    return width >= 1 ? floor(width) : 1;
  };

  // foreach(path, list, body(item, path), {concurrency?: number | () => number, collect?, minSuccesses?, toleratedFailures?})
  const foreach = (path, list, body, given) => {
    const options = ownOf(given);
    return within(path, list, () => {
      if (!isArray(list)) {
        const kind = list === null ? "null" : typeof list === "object" ? "an object" : "a " + (typeof list);
        throw new TypeErrorOf("foreach over " + stringify(path) + " needs a list, not " + kind);
      }
      const what = "foreach over " + stringify(path);
      const { concurrency } = options;
      const asked = typeof concurrency === "function" ? evaluated("ExpressionError", "the concurrency of " + what, concurrency) : concurrency;
      const arms = { count: list.length, ids: null, call: (i) => body(list[i], path + "[" + i + "]") };
      return side(path, what, arms, widthOf(asked), options, isPicky(options) ? listedOnly : listed);
    }, false);
  };

  // nested(path, input, workflow(input, path, given), given?)
  const nested = (path, value, workflow, given) => within(path, value, () => workflow(value, path, given), true);

  // map(path, input, compute): entered and left like a nested workflow, but without waiting.
  const map = (path, value, compute) => {
    entered(path, value);
    let made;
    try {
      made = compute();
      if (made instanceof PromiseOf) throw new TypeErrorOf("map " + stringify(path) + " gave a promise, not a value");
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
    const what = "the duration of " + stringify(id);
    const value = evaluated("ExpressionError", what, compute) ?? 0;
    const ms = isNumber(value) ? round(NumberOf(value) * 1000) : NaN;
    if (!isFinite(ms) || ms > INSTANT_MAX) throw named("ExpressionError", what + " is no number of seconds: " + json(value));
    return ms > 0 ? ms : 0;
  };

  // Milliseconds since the epoch of an instant that is computed now: a Date, such a number, or RFC 3339 text.
  const instant = (id, compute) => {
    const what = "the instant of " + stringify(id);
    const value = evaluated("ExpressionError", what, compute);
    const text = typeof value === "string" && matches(INSTANT, value);
    const ms = isDate(value) ? timeOf(value) : isNumber(value) ? round(NumberOf(value)) : text ? parseDate(value) : NaN;
    if (!(ms <= INSTANT_MAX && ms >= -INSTANT_MAX)) {
      throw named("ExpressionError", what + " is no date, RFC 3339 text or milliseconds: " + (value === undefined ? "nothing" : json(value)));
    }
    return ms;
  };

  // ── events from outside ───────────────────────────────────────────────────────────────────────────────────────────
  // What may be a name: the host's definition (`cloche.history.ids.is_name`), for code that can catch the error. A test
  // compares the two.
  const SHOWS = /^(?! )[^]{1,200}$(?<! )/u;
  const NOT_IN_NAMES = /[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\u{d800}-\u{dfff}\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{13430}-\u{1345f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;
  const RULE =
    " is not 1 to 200 characters of text in Unicode's form NFC, without control characters, marks that do not show and spaces " +
    "around it: no event of that name can come";
  const checkEvent = (name) => {
    if (typeof name !== "string") throw new TypeErrorOf("the name of an event is text, not " + (name === null ? "null" : typeof name));
    if (!matches(SHOWS, name) || matches(NOT_IN_NAMES, name) || normalize(name, "NFC") !== name) {
      throw new RangeErrorOf("the event name " + stringify(slice(name, 0, 200)) + RULE);
    }
  };

  // waitForEvent(path, name, value, ms?): what the event carries. After `ms` it fails. What is no name is a RangeError, or a
  // TypeError if it is no text.
  const waitForEvent = async (path, name, value, ms) => {
    checkEvent(name);
    const received = hook(path, name, { input: value });
    if (ms === undefined) return await received;
    const timer = sleep(path + "/timeout", ms, null);
    return await new PromiseOf((resolve, reject) => {
      const follow = async (promise, other, act) => {
        try {
          const value = await promise;
          abandon(other);
          act(value);
        } catch (error) {
          abandon(other);
          reject(error);
        }
      };
      follow(received, timer, resolve);
      follow(timer, received, () => {
        throw named("EventTimeout", "no event " + stringify(name) + " came to " + stringify(path) + " in " + ms + " ms");
      });
    });
  };

  const helpers = {
    nested, undone, map, parallel, branch, choose, dountil, dowhile, foreach, seconds, instant, waitForEvent,
    get, read, result, first, settled, lookUp, lookUps, defined, text,
    eq, ne, lt, lte, gt, gte, isIn, notIn, exists, notExists, truthy, falsy,
  };
  const names = keys(helpers);
  for (let i = 0; i < names.length; i++) put(cloche, names[i], helpers[names[i]]);
}
