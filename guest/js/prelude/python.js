// Python's meanings for the JavaScript that Python functions become (`cloche_codegen.conditions.functions.subset`): the namespace
// `cloche.python`. The answers are CPython's, and what it raises is raised by the same name; texts of errors are shorter.
//
// A number that is integral and safe stands for an int, any other for a float; beyond 2^53 an int is a BigInt. A float that is
// integral is kept in a box while an expression computes with it; one that crossed the glass is an int, which is equal to it.
(cloche) => {
  "use strict";

  const { hasOwn, keys, defineProperty, freeze } = Object;
  const { isArray } = Array;
  const { isView } = ArrayBuffer;
  const { isSafeInteger, MAX_SAFE_INTEGER } = Number;
  const { floor } = Math;
  const unbound = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);
  const [timeOf, unitAt, find, digitsOf, slice] = [
    Date.prototype.getTime, String.prototype.charCodeAt, String.prototype.indexOf, BigInt.prototype.toString,
    String.prototype.slice,
  ].map((method) => unbound(method));
  const [ErrorOf, DateOf, BigIntOf, NumberOf, Bytes] = [Error, Date, BigInt, Number, Uint8Array];
  const REPEATED_MAX = 1 << 26;

  const property = (value, enumerable) => ({ __proto__: null, value, writable: true, enumerable, configurable: true });
  const raised = (name, message) => defineProperty(new ErrorOf(message), "name", property(name, false));
  const push = (list, value) => defineProperty(list, list.length, property(value, true));

  class Float {
    constructor(number) {
      this.number = number;
    }
  }
  const isFloat = (value) => value instanceof Float;
  const float = (number) => (isSafeInteger(number) ? new Float(number) : number);

  const isNone = (value) => value === null || value === undefined;
  const isList = (value) => isArray(value);
  const isBytes = (value) => isView(value);
  const isDate = (value) => value instanceof DateOf;
  const isMapping = (value) =>
    typeof value === "object" && value !== null && !isArray(value) && !isDate(value) && !isView(value) && !isFloat(value);
  const isNumber = (value) =>
    typeof value === "number" || typeof value === "bigint" || typeof value === "boolean" || isFloat(value);
  const isInt = (value) => typeof value === "bigint" || typeof value === "boolean" || isSafeInteger(value);
  const has = (value, key) => hasOwn(value, key) && value[key] !== undefined;
  const kindOf = (value) => {
    if (isNone(value)) return "NoneType";
    if (typeof value === "boolean") return "bool";
    if (typeof value === "string") return "str";
    if (isNumber(value)) return isInt(value) ? "int" : "float";
    if (isList(value)) return "list";
    return isDate(value) ? "datetime" : isBytes(value) ? "bytes" : "dict";
  };
  const isHashable = (value) => !isList(value) && !isMapping(value);

  // ── texts are sequences of code points ────────────────────────────────────────────────────────────────────────────
  const widthAt = (text, at) => {
    const unit = unitAt(text, at);
    if (unit < 0xd800 || unit > 0xdbff || at + 1 >= text.length) return 1;
    const next = unitAt(text, at + 1);
    return next >= 0xdc00 && next <= 0xdfff ? 2 : 1;
  };
  const lengthOfText = (text) => {
    let count = 0;
    for (let at = 0; at < text.length; at += widthAt(text, at)) count++;
    return count;
  };
  const characterAt = (text, index) => {
    let at = 0;
    for (let count = 0; count < index; count++) at += widthAt(text, at);
    return slice(text, at, at + widthAt(text, at));
  };
  const ranked = (unit) => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);
  const orderOfTexts = (left, right) => {
    const shorter = left.length < right.length ? left.length : right.length;
    for (let at = 0; at < shorter; at++) {
      const one = unitAt(left, at);
      const other = unitAt(right, at);
      if (one !== other) return ranked(one) - ranked(other);
    }
    return left.length - right.length;
  };

  // ── truth, equality, order ────────────────────────────────────────────────────────────────────────────────────────
  const lengthOfMapping = (value) => {
    let count = 0;
    const names = keys(value);
    for (let i = 0; i < names.length; i++) if (value[names[i]] !== undefined) count++;
    return count;
  };
  const truth = (value) => {
    if (isNone(value)) return false;
    if (typeof value === "boolean") return value;
    if (isNumber(value)) return numberOf(value) != 0;
    if (typeof value === "string" || isList(value) || isBytes(value)) return value.length > 0;
    return isDate(value) || lengthOfMapping(value) > 0;
  };
  const numberOf = (value) => (value === true ? 1 : value === false ? 0 : isFloat(value) ? value.number : value);
  const sameItem = (left, right) => left === right || eq(left, right);
  const sameItems = (left, right) => {
    if (left.length !== right.length) return false;
    for (let i = 0; i < left.length; i++) if (!sameItem(left[i], right[i])) return false;
    return true;
  };
  const sameMapping = (left, right) => {
    if (lengthOfMapping(left) !== lengthOfMapping(right)) return false;
    const names = keys(left);
    for (let i = 0; i < names.length; i++) {
      const value = left[names[i]];
      if (value !== undefined && !(has(right, names[i]) && sameItem(value, right[names[i]]))) return false;
    }
    return true;
  };
  const eq = (left, right) => {
    if (isNumber(left)) return isNumber(right) && numberOf(left) == numberOf(right);
    if (isNone(left)) return isNone(right);
    if (typeof left === "string") return left === right;
    if (isList(left)) return isList(right) && (left === right || sameItems(left, right));
    if (isDate(left)) return isDate(right) && timeOf(left) === timeOf(right);
    if (isBytes(left)) return isBytes(right) && sameItems(left, right);
    return isMapping(right) && (left === right || sameMapping(left, right));
  };
  const ne = (left, right) => !eq(left, right);
  // Negative, zero or positive; NaN where a number is none.
  const order = (left, right, sign) => {
    if (isNumber(left) && isNumber(right)) {
      const one = numberOf(left);
      const other = numberOf(right);
      return one < other ? -1 : one > other ? 1 : one == other ? 0 : NaN;
    }
    if (typeof left === "string" && typeof right === "string") return orderOfTexts(left, right);
    if (isDate(left) && isDate(right)) return timeOf(left) - timeOf(right);
    if ((isList(left) && isList(right)) || (isBytes(left) && isBytes(right))) {
      const shorter = left.length < right.length ? left.length : right.length;
      for (let i = 0; i < shorter; i++) if (!sameItem(left[i], right[i])) return order(left[i], right[i], sign);
      return left.length - right.length;
    }
    throw raised("TypeError", "'" + sign + "' not supported between instances of '" + kindOf(left) + "' and '" + kindOf(right) + "'");
  };
  const lt = (left, right) => order(left, right, "<") < 0;
  const le = (left, right) => order(left, right, "<=") <= 0;
  const gt = (left, right) => order(left, right, ">") > 0;
  const ge = (left, right) => order(left, right, ">=") >= 0;
  const unhashable = (value) => raised("TypeError", "unhashable type: '" + kindOf(value) + "'");
  const isIn = (item, container) => {
    if (typeof container === "string") {
      if (typeof item !== "string") throw raised("TypeError", "a text cannot hold " + kindOf(item));
      return find(container, item) >= 0;
    }
    if (isMapping(container)) {
      if (!isHashable(item)) throw unhashable(item);
      return typeof item === "string" && has(container, item);
    }
    if (isBytes(container)) return isInBytes(item, container);
    if (!isList(container)) throw raised("TypeError", "argument of type '" + kindOf(container) + "' is not iterable");
    for (let i = 0; i < container.length; i++) if (sameItem(container[i], item)) return true;
    return false;
  };
  const isInBytes = (item, container) => {
    const number = numberOf(item);
    if (isInt(item) && (number < 0 || number > 255)) throw raised("ValueError", "byte must be in range(0, 256)");
    if (!isInt(item) && !isBytes(item)) throw raised("TypeError", "a bytes-like object is required, not '" + kindOf(item) + "'");
    const wanted = isInt(item) ? [NumberOf(number)] : item;
    for (let start = 0; start + wanted.length <= container.length; start++) {
      let at = 0;
      while (at < wanted.length && container[start + at] === wanted[at]) at++;
      if (at === wanted.length) return true;
    }
    return false;
  };
  const notIn = (item, container) => !isIn(item, container);
  const isInSet = (item, members) => {
    if (!isHashable(item)) throw unhashable(item);
    return isIn(item, members);
  };
  const notInSet = (item, members) => !isInSet(item, members);
  const is = (value) => isNone(value);
  const isNot = (value) => !isNone(value);
  // `a < b < c`: every operand once, and none after the first comparison that fails. What follows is (test, operand) in turn.
  const chain = (left, ...rest) => {
    for (let i = 0; i < rest.length; i += 2) {
      const right = rest[i + 1]();
      if (!rest[i](left, right)) return false;
      left = right;
    }
    return true;
  };
  const and = (first, ...rest) => {
    let value = first;
    for (let i = 0; i < rest.length && truth(value); i++) value = rest[i]();
    return value;
  };
  const or = (first, ...rest) => {
    let value = first;
    for (let i = 0; i < rest.length && !truth(value); i++) value = rest[i]();
    return value;
  };

  // ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  const attribute = (value, name) => {
    if (isMapping(value) && has(value, name)) return value[name];
    throw raised("AttributeError", "'" + kindOf(value) + "' object has no attribute '" + name + "'");
  };
  const item = (value, key) => {
    if (isMapping(value)) {
      if (!isHashable(key)) throw unhashable(key);
      if (typeof key === "string" && has(value, key)) return value[key];
      throw raised("KeyError", typeof key === "string" ? "'" + key + "'" : "a key that is no text");
    }
    const isText = typeof value === "string";
    if (!isText && !isList(value) && !isBytes(value)) {
      throw raised("TypeError", "'" + kindOf(value) + "' object is not subscriptable");
    }
    if (!isInt(key)) throw raised("TypeError", "indices must be integers, not '" + kindOf(key) + "'");
    const length = isText ? lengthOfText(value) : value.length;
    const number = numberOf(key);
    const index = number < 0 ? (typeof number === "bigint" ? -1 : number + length) : number;
    if (index < 0 || index >= length) throw raised("IndexError", "index out of range");
    return isText ? characterAt(value, index) : value[index] ?? null;
  };
  const len = (value) => {
    if (typeof value === "string") return lengthOfText(value);
    if (isList(value) || isBytes(value)) return value.length;
    if (isMapping(value)) return lengthOfMapping(value);
    throw raised("TypeError", "object of type '" + kindOf(value) + "' has no len()");
  };

  // ── arithmetic ────────────────────────────────────────────────────────────────────────────────────────────────────
  const settledInt = (big) => (big >= -MAX_SAFE_INTEGER && big <= MAX_SAFE_INTEGER ? NumberOf(big) : big);
  const unsupported = (sign, left, right) =>
    raised("TypeError", "unsupported operand type(s) for " + sign + ": '" + kindOf(left) + "' and '" + kindOf(right) + "'");
  const floatOf = (value) => {
    const float = NumberOf(value);
    if (typeof value === "bigint" && (float === Infinity || float === -Infinity)) {
      throw raised("OverflowError", "int too large to convert to float");
    }
    return float;
  };
  // `small` for numbers, `large` for BigInts. An int whose result is not safe is made again exactly.
  const arithmetic = (sign, small, large) => (left, right) => {
    if (!isNumber(left) || !isNumber(right)) throw unsupported(sign, left, right);
    const one = numberOf(left);
    const other = numberOf(right);
    if (!isInt(left) || !isInt(right)) return float(small(floatOf(one), floatOf(other), false));
    if (typeof one === "number" && typeof other === "number") {
      const made = small(one, other, true);
      if (isSafeInteger(made)) return made === 0 ? 0 : made;
    }
    return settledInt(large(BigIntOf(one), BigIntOf(other)));
  };
  const byZero = () => raised("ZeroDivisionError", "division by zero");
  const addNumbers = arithmetic("+", (a, b) => a + b, (a, b) => a + b);
  const sub = arithmetic("-", (a, b) => a - b, (a, b) => a - b);
  const mulNumbers = arithmetic("*", (a, b) => a * b, (a, b) => a * b);
  const modNumbers = arithmetic(
    "%",
    (a, b) => {
      if (b === 0) throw byZero();
      const rest = a % b;
      return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
    },
    (a, b) => {
      if (b === 0n) throw byZero();
      const rest = a % b;
      return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
    },
  );
  const floordiv = arithmetic(
    "//",
    (a, b, ints) => {
      if (b === 0) throw byZero();
      let rest = a % b;
      if (ints) return (a - (rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest)) / b;
      let whole = (a - rest) / b;
      if (rest !== 0 && rest < 0 !== b < 0) whole -= 1;
      const floored = floor(whole);
      return whole - floored > 0.5 ? floored + 1 : floored;
    },
    (a, b) => {
      if (b === 0n) throw byZero();
      const whole = a / b;
      const rest = a % b;
      return rest !== 0n && rest < 0n !== b < 0n ? whole - 1n : whole;
    },
  );
  const div = (left, right) => {
    if (!isNumber(left) || !isNumber(right)) throw unsupported("/", left, right);
    const one = numberOf(left);
    const other = numberOf(right);
    if (other == 0) throw byZero();
    if (typeof one === "number" && typeof other === "number") return float(one / other);
    if (!isInt(left) || !isInt(right)) return float(floatOf(one) / floatOf(other));
    return float(quotient(BigIntOf(one), BigIntOf(other)));
  };
  const bitsOf = (big) => digitsOf(big < 0n ? -big : big, 16).length * 4;
  // Of two ints, rounded once: with 66 bits and one that says whether anything was left, the conversion rounds rightly.
  const quotient = (one, other) => {
    const shift = 70 - (bitsOf(one) - bitsOf(other));
    const above = shift > 0 ? one << BigIntOf(shift) : one;
    const below = shift > 0 ? other : other << BigIntOf(-shift);
    let whole = above / below;
    if (above % below !== 0n && whole % 2n === 0n) whole += (one < 0n) === (other < 0n) ? 1n : -1n;
    const made = shift > 1000 ? (NumberOf(whole) / 2 ** 1000) / 2 ** (shift - 1000) : NumberOf(whole) * 2 ** -shift;
    if (made === Infinity || made === -Infinity) {
      throw raised("OverflowError", "integer division result too large for a float");
    }
    return made;
  };
  const joined = (left, right) => {
    const made = [];
    for (let i = 0; i < left.length; i++) push(made, left[i]);
    for (let i = 0; i < right.length; i++) push(made, right[i]);
    return isBytes(left) ? new Bytes(made) : made;
  };
  const add = (left, right) => {
    if (typeof left === "string" && typeof right === "string") return left + right;
    if ((isList(left) && isList(right)) || (isBytes(left) && isBytes(right))) return joined(left, right);
    return addNumbers(left, right);
  };
  const isSequence = (value) => typeof value === "string" || isList(value) || isBytes(value);
  const mul = (left, right) => {
    if (isSequence(left) && isInt(right)) return repeated(left, numberOf(right));
    if (isSequence(right) && isInt(left)) return repeated(right, numberOf(left));
    return mulNumbers(left, right);
  };
  const repeated = (value, count) => {
    if (count > 0 && value.length * NumberOf(count) > REPEATED_MAX) throw raised("MemoryError", "");
    let made = typeof value === "string" ? "" : isBytes(value) ? new Bytes(0) : [];
    for (let i = 0; i < count && value.length > 0; i++) made = typeof value === "string" ? made + value : joined(made, value);
    return made;
  };
  const mod = (left, right) => {
    if (typeof left !== "string" && !isBytes(left)) return modNumbers(left, right);
    // Formatting, which is not there; without a place for anything a mapping or list is left out, and the rest is too much.
    const isFormat = typeof left === "string" ? find(left, "%") >= 0 : isInBytes(37, left);
    if (!isFormat && (isMapping(right) || isList(right))) return left;
    throw raised("TypeError", isFormat ? "texts are not formatted with % here" : "not all arguments converted");
  };
  const signed = (sign, made) => (value) => {
    if (!isNumber(value)) throw raised("TypeError", "bad operand type for unary " + sign + ": '" + kindOf(value) + "'");
    const number = made(numberOf(value));
    return isFloat(value) ? float(number) : number;
  };
  const neg = signed("-", (value) => (value == 0 ? value : -value));
  const pos = signed("+", (value) => value);

  // ── what a function is handed, and what it gives ──────────────────────────────────────────────────────────────────
  const copied = (value) => {
    if (isNone(value)) return null;
    if (isFloat(value)) return value.number;
    if (isList(value)) {
      const made = [];
      for (let i = 0; i < value.length; i++) push(made, copied(value[i]));
      return made;
    }
    if (isDate(value)) return new DateOf(timeOf(value));
    if (isBytes(value)) return new Bytes(value);
    if (!isMapping(value)) return value;
    const made = {};
    const names = keys(value);
    for (let i = 0; i < names.length; i++) {
      const part = value[names[i]];
      if (part !== undefined) defineProperty(made, names[i], property(copied(part), true));
    }
    return made;
  };
  const applied = (value) => copied(value);

  freeze(Float.prototype);
  cloche.python = {
    add, and, applied, attribute, chain, div, eq, float, floordiv, ge, gt, is, isIn, isInSet, isNot, item, le, len, lt, mod, mul, ne,
    neg, notIn, notInSet, or, pos, sub, truth,
  };
  for (const name of keys(cloche.python)) freeze(cloche.python[name]);
}
