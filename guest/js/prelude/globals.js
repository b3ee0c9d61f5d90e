// What a workflow finds beside ECMAScript itself, apart from the files named after what they bring; and `cloche.own`, which
// those share. Everything that is used later is taken now, so that no workflow code can put something else in its place.
(cloche) => {
  "use strict";

  const { apply } = Reflect;
  const { defineProperty, getOwnPropertyDescriptor, setPrototypeOf, freeze } = Object;
  const { toString: bigintToString } = BigInt.prototype;
  const { toString: errorToString } = Error.prototype;
  const { BigInt: toBigInt } = globalThis;
  const [TypeErrorOf] = [TypeError];
  const unbound = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);

  // Integers beyond 64 bits, for the codec: -1 - n for a negative one, as CBOR counts them.
  cloche.bigints(
    (hex, negative) => (negative ? -1n - toBigInt("0x" + hex) : toBigInt("0x" + hex)),
    (value) => (value < 0n ? "-" + apply(bigintToString, -1n - value, [16]) : "+" + apply(bigintToString, value, [16])),
  );

  // Maps whose methods are their own.
  const METHODS = ["get", "set", "has", "delete", "forEach"];
  const makerOf = (Kind) => {
    const methods = { __proto__: null };
    for (let i = 0; i < METHODS.length; i++) methods[METHODS[i]] = Kind.prototype[METHODS[i]];
    freeze(methods);
    return () => setPrototypeOf(new Kind(), methods);
  };
  const newMap = makerOf(Map);
  const newWeakMap = makerOf(WeakMap);

  // What a Date cannot hold of the timestamp that it was: microseconds, a zone. It goes out again while the Date is unchanged.
  const instants = newWeakMap();
  cloche.instants(
    (date, text) => {
      instants.set(date, text);
    },
    (date) => instants.get(date),
  );

  const hide = (target, name, value) =>
    defineProperty(target, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });

  // Puts a class in the place where the web has it. Its methods can be listed, as they can there.
  const define = (name, value) => hide(globalThis, name, value);
  const expose = (prototype, names) => {
    for (let i = 0; i < names.length; i++) defineProperty(prototype, names[i], { __proto__: null, enumerable: true });
  };
  const tag = (prototype, name) =>
    defineProperty(prototype, Symbol.toStringTag, { __proto__: null, value: name, configurable: true });

  const push = (list, value) =>
    defineProperty(list, list.length, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
  const getterOf = (prototype, name) => unbound(getOwnPropertyDescriptor(prototype, name).get);

  const { random, hasStarted } = cloche;
  const beforeStart = (what) => {
    if (!hasStarted()) throw new TypeErrorOf(what + " before the run starts: use it inside the workflow function");
  };
  cloche.own = { __proto__: null, unbound, newMap, newWeakMap, hide, define, expose, tag, push, getterOf, beforeStart };

  hide(Math, "random", random);
  define("self", globalThis);

  // `stack` begins with what the error says. A text is put in its place as the standard says, and what it refuses is, too: some
  // libraries write `undefined`.
  const { get: traceOf, set: setTrace } = getOwnPropertyDescriptor(Error.prototype, "stack");
  const [ErrorPrototype, sliced] = [Error.prototype, unbound(String.prototype.slice)];
  const { defineProperty: tryToDefine } = Reflect;
  cloche.traces(traceOf);
  cloche.own.traceOf = unbound(traceOf);
  const stack = {
    get stack() {
      const trace = apply(traceOf, this, []);
      if (typeof trace !== "string") return trace;
      const said = apply(errorToString, this, []);
      return trace === "" ? said : said + "\n" + sliced(trace, 0, -1);
    },
    set stack(value) {
      if (typeof value === "string") return apply(setTrace, this, [value]);
      if (this === ErrorPrototype) return;
      tryToDefine(this, "stack", { __proto__: null, value, writable: true, configurable: true, enumerable: false });
    },
  };
  const { get, set } = getOwnPropertyDescriptor(stack, "stack");
  defineProperty(ErrorPrototype, "stack", { __proto__: null, get, set });

  // Shared memory and its waiting make no sense for one thread under glass.
  delete globalThis.SharedArrayBuffer;
  delete globalThis.Atomics;
}
