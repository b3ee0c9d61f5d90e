// structuredClone: a deep copy of data, with its cycles; what is no data is refused as the web refuses it.
(cloche) => {
  "use strict";

  const { unbound, newMap, define, getterOf, push } = cloche.own;
  const { keys, defineProperty, getPrototypeOf } = Object;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const { isError } = Error;
  const { getOwnPropertyDescriptor } = Reflect;
  const [Thrown, StringOf, NumberOf, BooleanOf, ObjectOf, DateOf, RegExpOf, MapOf, SetOf, ErrorOf, View, Buffer] = [
    DOMException, String, Number, Boolean, Object, Date, RegExp, Map, Set, Error, DataView, ArrayBuffer,
  ];
  const KINDS = { __proto__: null, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const TYPED = { __proto__: null };
  for (const Type of [
    Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array,
    Float16Array, Float32Array, Float64Array,
  ]) TYPED[Type.name] = Type;
  const Typed = getPrototypeOf(Uint8Array.prototype);
  const kindOfTyped = getterOf(Typed, Symbol.toStringTag);
  const [typedBuffer, typedOffset, typedLength] = ["buffer", "byteOffset", "length"].map((name) => getterOf(Typed, name));
  const [viewBuffer, viewOffset, viewSize] = ["buffer", "byteOffset", "byteLength"].map((name) => getterOf(View.prototype, name));
  const [timeOf, sourceOf, flagsOf, lastOf] = [
    unbound(Date.prototype.getTime), getterOf(RegExp.prototype, "source"), getterOf(RegExp.prototype, "flags"),
    (value) => value.lastIndex,
  ];
  const [bytesSliced, transfer, eachOfMap, eachOfSet, setIn, addTo, textOf, numberOf, truthOf, bigintOf, symbolOf] = [
    ArrayBuffer.prototype.slice, ArrayBuffer.prototype.transfer, Map.prototype.forEach, Set.prototype.forEach, Map.prototype.set,
    Set.prototype.add, String.prototype.valueOf, Number.prototype.valueOf, Boolean.prototype.valueOf, BigInt.prototype.valueOf,
    Symbol.prototype.valueOf,
  ].map((method) => unbound(method));
  const [sizeOfMap, sizeOfSet, sizeOfBuffer] = [getterOf(Map.prototype, "size"), getterOf(Set.prototype, "size"), getterOf(Buffer.prototype, "byteLength")];
  const weakHas = unbound(WeakMap.prototype.has);
  const weakSetHas = unbound(WeakSet.prototype.has);

  const is = (ask, value) => {
    try {
      ask(value);
      return true;
    } catch {
      return false;
    }
  };
  const refuse = (what) => {
    throw new Thrown(what + " could not be cloned.", "DataCloneError");
  };
  const put = (object, key, value) =>
    defineProperty(object, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });

  const clone = (value, seen) => {
    if (typeof value === "symbol") refuse("A symbol");
    if (typeof value === "function") refuse("A function");
    if (typeof value !== "object" || value === null) return value;
    const known = seen.get(value);
    return known === undefined ? copied(value, seen) : known;
  };

  const copied = (value, seen) => {
    const keep = (copy) => {
      seen.set(value, copy);
      return copy;
    };
    if (isArray(value)) {
      const copy = keep([]);
      copy.length = value.length;
      return fields(value, copy, seen);
    }
    if (isView(value)) return keep(view(value, seen));
    if (isError(value)) return error(value, keep, seen);
    if (is(timeOf, value)) return keep(new DateOf(timeOf(value)));
    if (value instanceof RegExpOf && is(sourceOf, value)) return keep(new RegExpOf(sourceOf(value), flagsOf(value)));
    if (is(sizeOfBuffer, value)) return keep(bytesSliced(value, 0));
    if (is(sizeOfMap, value)) return entries(value, keep(new MapOf()), seen);
    if (is(sizeOfSet, value)) return items(value, keep(new SetOf()), seen);
    if (is(textOf, value)) return keep(new ObjectOf(textOf(value)));
    if (is(numberOf, value)) return keep(new ObjectOf(numberOf(value)));
    if (is(truthOf, value)) return keep(new ObjectOf(truthOf(value)));
    if (is(bigintOf, value)) return keep(new ObjectOf(bigintOf(value)));
    if (is(symbolOf, value)) refuse("A symbol");
    if (value instanceof PromiseOf) refuse("A promise");
    if (is((one) => weakHas(one, one), value) || is((one) => weakSetHas(one, one), value)) refuse("What is weak");
    return fields(value, keep({}), seen);
  };
  const [PromiseOf] = [Promise];

  const fields = (value, copy, seen) => {
    const names = keys(value);
    for (let i = 0; i < names.length; i++) put(copy, names[i], clone(value[names[i]], seen));
    return copy;
  };

  const entries = (value, copy, seen) => {
    const all = [];
    eachOfMap(value, (item, key) => push(all, [key, item])); // first all of them: a getter may change the map
    for (let i = 0; i < all.length; i++) setIn(copy, clone(all[i][0], seen), clone(all[i][1], seen));
    return copy;
  };

  const items = (value, copy, seen) => {
    const all = [];
    eachOfSet(value, (item) => push(all, item));
    for (let i = 0; i < all.length; i++) addTo(copy, clone(all[i], seen));
    return copy;
  };

  const view = (value, seen) => {
    if (value instanceof View) return new View(clone(viewBuffer(value), seen), viewOffset(value), viewSize(value));
    return new TYPED[kindOfTyped(value)](clone(typedBuffer(value), seen), typedOffset(value), typedLength(value));
  };

  const error = (value, keep, seen) => {
    const { name, stack } = value;
    const Kind = (typeof name === "string" ? KINDS[name] : undefined) ?? ErrorOf;
    const message = getOwnPropertyDescriptor(value, "message");
    const copy = keep(message === undefined ? new Kind() : new Kind(StringOf(message.value)));
    const cause = getOwnPropertyDescriptor(value, "cause");
    if (typeof stack === "string") copy.stack = stack;
    if (cause !== undefined) defineProperty(copy, "cause", { __proto__: null, value: clone(value.cause, seen), writable: true, configurable: true });
    return copy;
  };

  define("structuredClone", function structuredClone(value, options = undefined) {
    if (arguments.length === 0) throw new TypeErrorOf("structuredClone takes a value");
    const seen = newMap();
    const moved = [];
    for (const buffer of options?.transfer ?? []) {
      if (!is(sizeOfBuffer, buffer)) refuse("What is to be transferred, and is no ArrayBuffer,");
      push(moved, buffer);
      seen.set(buffer, transferred(buffer));
    }
    return clone(value, seen);
  });
  const [TypeErrorOf] = [TypeError];
  const transferred = (buffer) => transfer(buffer);
}
