// Time as the web has it: timers that are the run's own, durable ones, and a clock that shows the time of the event.
(cloche) => {
  "use strict";

  const { sleep, abandon } = cloche;
  const { newMap, newWeakMap, define, beforeStart, tag } = cloche.own;
  const { apply } = Reflect;
  const { freeze, setPrototypeOf } = Object;
  const { now } = Date;
  const [TypeErrorOf, NumberOf, StringOf] = [TypeError, Number, String];

  let made = 0;
  const counts = { __proto__: null, setTimeout: 0, setInterval: 0 };
  const open = newMap(); // number of the timer -> the promise of the sleep that it is in

  // A timer stands at a path that says what it is: `setTimeout`, `setTimeout#2`, and for the third time `setInterval[3]`.
  const begin = (name, call, ms) => {
    beforeStart("there is no " + name);
    if (typeof call !== "function") throw new TypeErrorOf(name + " takes a function");
    const count = ++counts[name];
    const wait = NumberOf(ms);
    return { __proto__: null, number: ++made, path: count > 1 ? name + "#" + StringOf(count) : name, ms: wait > 0 ? wait : 0 };
  };

  const once = async (timer, call, given) => {
    const promise = sleep(timer.path, timer.ms, null);
    open.set(timer.number, promise);
    await promise;
    if (open.delete(timer.number)) apply(call, undefined, given);
  };

  const again = async (timer, turn, call, given) => {
    const promise = sleep(timer.path + "[" + StringOf(turn) + "]", timer.ms, null);
    open.set(timer.number, promise);
    await promise;
    try {
      apply(call, undefined, given);
    } finally {
      if (open.has(timer.number)) again(timer, turn + 1, call, given);
    }
  };

  const clear = (number) => {
    const promise = open.get(number);
    if (promise === undefined) return;
    open.delete(number);
    abandon(promise);
  };

  const timers = {
    setTimeout(call, ms, ...given) {
      const timer = begin("setTimeout", call, ms);
      once(timer, call, given);
      return timer.number;
    },
    setInterval(call, ms, ...given) {
      const timer = begin("setInterval", call, ms);
      again(timer, 1, call, given);
      return timer.number;
    },
    clearTimeout(number) {
      clear(number);
    },
    clearInterval(number) {
      clear(number);
    },
  };
  define("setTimeout", timers.setTimeout);
  define("setInterval", timers.setInterval);
  define("clearTimeout", timers.clearTimeout);
  define("clearInterval", timers.clearInterval);
  const { setTimeout } = timers;
  cloche.own.later = setTimeout;

  // Milliseconds since 1970, as its origin is: two of them differ by the time between their events.
  const performance = { now: () => now(), timeOrigin: 0, toJSON: () => ({ timeOrigin: 0 }) };
  tag(performance, "Performance");
  define("performance", freeze(performance));

  // Both in the form that the standard leaves open and that shows nothing of the collector: what was registered or referred to
  // is kept for as long as the registry or the reference is.
  class WeakRef {
    #target;
    constructor(target) {
      if (!isHeld(target)) throw new TypeErrorOf("WeakRef takes an object or a symbol");
      inherit(this, new.target, WeakRef);
      this.#target = target;
    }
    deref() {
      return this.#target;
    }
  }
  class FinalizationRegistry {
    #tokens;
    constructor(call) {
      if (typeof call !== "function") throw new TypeErrorOf("FinalizationRegistry takes a function");
      inherit(this, new.target, FinalizationRegistry);
      this.#tokens = newWeakMap();
    }
    register(target, held, token = undefined) {
      const tokens = this.#tokens;
      if (!isHeld(target)) throw new TypeErrorOf("register takes an object or a symbol");
      if (target === held) throw new TypeErrorOf("what is held must not be the target");
      if (token !== undefined && !isHeld(token)) throw new TypeErrorOf("the token must be an object or a symbol");
      if (token !== undefined) tokens.set(token, true);
    }
    unregister(token) {
      const tokens = this.#tokens;
      if (!isHeld(token)) throw new TypeErrorOf("unregister takes an object or a symbol");
      return tokens.delete(token);
    }
  }
  // A function without a prototype of its own makes objects of the class that it stands for.
  const inherit = (made, called, Class) => {
    const own = called.prototype;
    if ((typeof own !== "object" || own === null) && typeof own !== "function") setPrototypeOf(made, Class.prototype);
  };
  const { keyFor } = Symbol;
  const isHeld = (value) =>
    (typeof value === "object" && value !== null) || typeof value === "function" || (typeof value === "symbol" && keyFor(value) === undefined);
  tag(WeakRef.prototype, "WeakRef");
  tag(FinalizationRegistry.prototype, "FinalizationRegistry");
  define("WeakRef", WeakRef);
  define("FinalizationRegistry", FinalizationRegistry);
}
