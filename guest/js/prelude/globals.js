// What a workflow finds beside ECMAScript itself: console, crypto, and randomness from the run's seed.
// Everything that is used later is taken now, so that no workflow code can put something else in its place.
(cloche) => {
  const { apply } = Reflect;
  const { stringify } = JSON;
  const { defineProperty, freeze, setPrototypeOf } = Object;
  const { toString: bigintToString } = BigInt.prototype;
  const { toString: errorToString } = Error.prototype;
  const { isError } = Error;
  const { BigInt: toBigInt, String: toText } = globalThis;

  // Integers beyond 64 bits, for the codec: -1 - n for a negative one, as CBOR counts them.
  cloche.bigints(
    (hex, negative) => (negative ? -1n - toBigInt("0x" + hex) : toBigInt("0x" + hex)),
    (value) => (value < 0n ? "-" + apply(bigintToString, -1n - value, [16]) : "+" + apply(bigintToString, value, [16])),
  );

  // What a Date cannot hold of the timestamp that it was: microseconds, a zone. It goes out again while the Date is unchanged.
  const instants = setPrototypeOf(new WeakMap(), freeze({ __proto__: null, get: WeakMap.prototype.get, set: WeakMap.prototype.set }));
  cloche.instants(
    (date, text) => {
      instants.set(date, text);
    },
    (date) => instants.get(date),
  );

  const hide = (target, name, value) =>
    defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });

  // One word of a log line. It never throws: a line is not worth a run.
  const word = (value) => {
    try {
      if (typeof value === "string") return value;
      if (typeof value === "bigint") return toText(value) + "n";
      if (typeof value !== "object" || value === null) return toText(value);
      if (isError(value)) return apply(errorToString, value, []);
      return stringify(value) ?? toText(value);
    } catch {
      return "[a value without text]";
    }
  };
  const line = (level) =>
    function () {
      let text = "";
      for (let i = 0; i < arguments.length; i++) text += (i ? " " : "") + word(arguments[i]);
      cloche_log(level, text);
    };
  const cloche_log = cloche.log;
  const console = {};
  const levels = ["trace", "debug", "log", "warn", "error"];
  for (let level = 0; level < levels.length; level++) hide(console, levels[level], line(level));
  hide(console, "info", console.log);
  hide(globalThis, "console", console);

  const { random, getRandomValues, randomUUID } = cloche;
  hide(Math, "random", random);
  hide(globalThis, "crypto", freeze({ getRandomValues, randomUUID }));

  // Shared memory and its waiting make no sense for one thread under glass.
  for (const name of ["SharedArrayBuffer", "Atomics", "performance", "WeakRef", "FinalizationRegistry"]) delete globalThis[name];

  // Only the prelude itself needs these; freeze.js takes away those that workflow.js uses.
  for (const name of ["bigints", "instants", "log", "random", "getRandomValues", "randomUUID"]) delete cloche[name];

  defineProperty(globalThis, Symbol.for("WORKFLOW_USE_STEP"), { value: cloche.step });
}
