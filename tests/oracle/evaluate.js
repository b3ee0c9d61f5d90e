// The rest of the module that evaluates code strings; see codes.py, and crossing.py for how values are written.
// Everything is inside of the function, so that a code string sees nothing of it.
export default async function evaluate() {
  const codes = [/* codes */];
  const step = globalThis[Symbol.for("WORKFLOW_USE_STEP")];
  const { entered, lookUp } = globalThis.cloche;
  const { defineProperty, getPrototypeOf, hasOwn, keys, prototype: plain } = Object;
  const { isError } = Error;
  const { isArray } = Array;
  const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
  const [StringOf, BigIntOf, MapOf, DateOf, ErrorOf, Bytes, Buffer, PromiseOf] = [
    String, BigInt, Map, Date, Error, Uint8Array, ArrayBuffer, Promise,
  ];
  const { parse } = Date;
  const STANDARD = ["name", "message", "cause", "stack", "data"];

  const put = (object, key, value, enumerable = true) =>
    defineProperty(object, key, { __proto__: null, value, writable: true, enumerable, configurable: true });

  // ── in ──
  const shell = (entry) => {
    switch (entry[0]) {
      case 0: return [];
      case 1: return {};
      case 2: return new DateOf(entry[1] ?? NaN);
      case 3: return entry[1];
      default: return new ErrorOf();
    }
  };
  const valueOf = (slot, objects) => {
    if (!isArray(slot)) return slot;
    switch (slot[0]) {
      case 0: return undefined;
      case 1: return objects[slot[1]];
      case 2: return BigIntOf(slot[1]);
      default: return undefined;
    }
  };
  const fill = (entry, object, objects) => {
    if (entry[0] === 0) for (let i = 1; i < entry.length; i++) put(object, i - 1, valueOf(entry[i], objects));
    if (entry[0] === 1) for (let i = 1; i < entry.length; i += 2) put(object, entry[i], valueOf(entry[i + 1], objects));
    if (entry[0] === 4) {
      const [, name, message, data, cause, extras] = entry;
      put(object, "name", name, false);
      put(object, "message", message, false);
      if (data?.[0] !== 0) put(object, "data", valueOf(data, objects), false);
      if (cause?.[0] !== 0) put(object, "cause", valueOf(cause, objects), false);
      const further = valueOf(extras, objects) ?? {};
      for (const key of keys(further)) put(object, key, further[key]);
    }
  };

  // ── out ──
  // Why a value cannot cross, in the words of the guest itself; null if it can.
  const refusal = (value) => {
    try {
      entered("", value);
      return null;
    } catch (error) {
      return StringOf(error.message).startsWith("value is ") ? error.message.slice(6) : null;
    }
  };
  const bytesOf = (value) => new Bytes(value.slice(0));
  const writer = (numbers) => {
    const table = [];
    const objects = [];
    const first = numbers.size;
    const number = (value) => {
      if (!numbers.has(value)) {
        numbers.set(value, first + objects.length);
        objects[objects.length] = value;
      }
      return [1, numbers.get(value)];
    };
    const slot = (value) => {
      if (value === undefined) return [0];
      if (typeof value === "bigint") return value >= -SAFE && value <= SAFE ? [2, value] : value;
      if (typeof value === "function" || typeof value === "symbol") return [3, `is a ${typeof value}`, StringOf(value)];
      if (typeof value !== "object" || value === null) return value;
      if (numbers.has(value)) return number(value);
      if (value instanceof PromiseOf) return [4];
      const prototype = getPrototypeOf(value);
      if (prototype === plain || prototype === null || isArray(value) || isError(value)) return number(value);
      const why = value instanceof DateOf ? null : refusal(value);
      return why === null ? number(value) : [3, why, "{}"];
    };
    const ofError = (error) => {
      const further = {};
      for (const key of keys(error)) if (!STANDARD.includes(key)) put(further, key, error[key]);
      return [
        4,
        typeof error.name === "string" ? error.name : "Error",
        typeof error.message === "string" ? error.message : "",
        hasOwn(error, "data") ? slot(error.data) : [0],
        slot(error.cause),
        keys(further).length ? slot(further) : [0],
      ];
    };
    const entry = (value) => {
      if (isArray(value)) {
        const made = [0];
        for (let i = 0; i < value.length; i++) made[i + 1] = slot(value[i]);
        return made;
      }
      if (isError(value)) return ofError(value);
      if (value instanceof DateOf) return [2, Number.isNaN(value.getTime()) ? null : value.getTime()];
      if (value instanceof Bytes) return [3, value];
      if (value instanceof Buffer) return [3, bytesOf(value)];
      const made = [1];
      for (const key of keys(value)) made.push(key, slot(value[key]));
      return made;
    };
    const finish = () => {
      while (table.length < objects.length) table[table.length] = entry(objects[table.length]);
      return table;
    };
    return { slot, finish };
  };
  const answer = (succeeded, value, numbers, text) => {
    const { slot, finish } = writer(numbers);
    const written = slot(value);
    return [succeeded, written, finish(), text];
  };
  const textOf = (thrown) => {
    if (isError(thrown)) return null;
    try {
      return StringOf(thrown);
    } catch {
      return "a value without text was thrown";
    }
  };

  const evaluated = ([index, table, given, results]) => {
    if (index < 0) return [true, parse(given[0][1]), [], null];
    const objects = table.map(shell);
    const numbers = new MapOf();
    for (let i = 0; i < objects.length; i++) {
      fill(table[i], objects[i], objects);
      numbers.set(objects[i], i);
    }
    const scope = {};
    for (const [name, slot] of given) {
      const value = valueOf(slot, objects);
      put(scope, name, name === "getInitData" ? () => value : value);
    }
    if (results !== null) {
      const known = {};
      for (const [id, slot] of results) put(known, id, valueOf(slot, objects));
      put(scope, "stepResults", known);
      put(scope, "getStepResult", lookUp(known));
    }
    let value;
    try {
      value = codes[index](scope);
    } catch (error) {
      return answer(false, error, numbers, textOf(error));
    }
    return answer(true, value, numbers, null);
  };

  const next = step("code", "code");
  for (let last = null; ; ) last = evaluated(await next(last));
}
