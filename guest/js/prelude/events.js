// Events and what is canceled by them: Event, CustomEvent, EventTarget, AbortController, AbortSignal.
(cloche) => {
  "use strict";

  const { newMap, define, expose, tag, push, report, later } = cloche.own;
  const { now } = Date;
  const { apply } = Reflect;
  const [TypeErrorOf, StringOf, Thrown] = [TypeError, String, DOMException];

  class Event {
    #type;
    #bubbles;
    #cancelable;
    #time = now();
    #target = null;
    #prevented = false;
    #stopped = false;
    #passive = false;
    constructor(type, options = undefined) {
      if (arguments.length === 0) throw new TypeErrorOf("an event has a type");
      this.#type = StringOf(type);
      this.#bubbles = !!options?.bubbles;
      this.#cancelable = !!options?.cancelable;
    }
    get type() {
      return this.#type;
    }
    get target() {
      return this.#target;
    }
    get currentTarget() {
      return this.#target;
    }
    get bubbles() {
      return this.#bubbles;
    }
    get cancelable() {
      return this.#cancelable;
    }
    get defaultPrevented() {
      return this.#prevented;
    }
    get timeStamp() {
      return this.#time;
    }
    get isTrusted() {
      return false;
    }
    preventDefault() {
      if (this.#cancelable && !this.#passive) this.#prevented = true;
    }
    stopPropagation() {}
    stopImmediatePropagation() {
      this.#stopped = true;
    }
    composedPath() {
      const path = [];
      if (this.#target !== null) push(path, this.#target);
      return path;
    }
    static isEvent = (value) => typeof value === "object" && value !== null && #type in value;
    static begin = (event, target) => {
      event.#target = target;
      event.#stopped = false;
    };
    static isStopped = (event) => event.#stopped;
    static passive = (event, whether) => {
      event.#passive = whether;
    };
  }
  const { isEvent, begin, isStopped, passive } = Event;
  for (const name of ["isEvent", "begin", "isStopped", "passive"]) delete Event[name];

  class CustomEvent extends Event {
    #detail;
    constructor(type, options = undefined) {
      super(type, options);
      this.#detail = options?.detail ?? null;
    }
    get detail() {
      return this.#detail;
    }
  }

  class EventTarget {
    #listeners = newMap(); // type -> [{callback, capture, once, passive, removed}]
    addEventListener(type, callback, options = undefined) {
      if (callback === null || callback === undefined) return;
      if (typeof callback !== "function" && typeof callback !== "object") throw new TypeErrorOf("a listener is a function or an object");
      const name = StringOf(type);
      const capture = typeof options === "object" && options !== null ? !!options.capture : !!options;
      const signal = options?.signal;
      if (signal !== undefined && !isSignal(signal)) throw new TypeErrorOf("the signal of a listener is an AbortSignal");
      if (signal?.aborted) return;
      let all = this.#listeners.get(name);
      if (all === undefined) this.#listeners.set(name, (all = []));
      if (findIn(all, callback, capture) >= 0) return;
      push(all, { __proto__: null, callback, capture, once: !!options?.once, passive: !!options?.passive, removed: false });
      if (signal !== undefined) whenAborted(signal, () => remove(this, name, callback, capture));
    }
    removeEventListener(type, callback, options = undefined) {
      remove(this, StringOf(type), callback, typeof options === "object" && options !== null ? !!options.capture : !!options);
    }
    dispatchEvent(event) {
      if (!isEvent(event)) throw new TypeErrorOf("dispatchEvent takes an Event");
      return dispatch(this, event);
    }
    static remove = (target, name, callback, capture) => {
      const all = target.#listeners.get(name);
      const at = all === undefined ? -1 : findIn(all, callback, capture);
      if (at < 0) return;
      all[at].removed = true;
      const rest = []; // another list: one that is being walked stays as it is
      for (let i = 0; i < all.length; i++) if (i !== at) push(rest, all[i]);
      target.#listeners.set(name, rest);
    };
    // What a listener throws is told, and stops nobody.
    static dispatch = (target, event) => {
      begin(event, target);
      const { type } = event;
      const all = target.#listeners.get(type);
      const count = all === undefined ? 0 : all.length;
      for (let i = 0; i < count && !isStopped(event); i++) {
        const listener = all[i];
        if (listener.removed) continue;
        if (listener.once) remove(target, type, listener.callback, listener.capture);
        passive(event, listener.passive);
        try {
          const { callback } = listener;
          if (typeof callback === "function") apply(callback, target, [event]);
          else callback.handleEvent(event);
        } catch (error) {
          report("a listener of '" + type + "' threw", error);
        }
        passive(event, false);
      }
      return !event.defaultPrevented;
    };
  }
  const findIn = (all, callback, capture) => {
    for (let i = 0; i < all.length; i++) if (all[i].callback === callback && all[i].capture === capture) return i;
    return -1;
  };
  const { remove, dispatch } = EventTarget;
  delete EventTarget.remove;
  delete EventTarget.dispatch;

  let isMaking = false; // only AbortController and the functions of AbortSignal make signals
  class AbortSignal extends EventTarget {
    #aborted = false;
    #reason = undefined;
    #handler = null;
    #steps = []; // of our own: what is done before any listener learns of it
    #dependent = []; // signals that are aborted with this one, after it
    constructor() {
      if (!isMaking) throw new TypeErrorOf("an AbortSignal is made by an AbortController");
      super();
    }
    get aborted() {
      return this.#aborted;
    }
    get reason() {
      return this.#reason;
    }
    get onabort() {
      return this.#handler;
    }
    set onabort(handler) {
      if (this.#handler !== null) remove(this, "abort", handle, false);
      this.#handler = typeof handler === "function" ? handler : null;
      if (this.#handler !== null) add(this, "abort", handle);
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    static abort(reason = new Thrown("This operation was aborted", "AbortError")) {
      const signal = made();
      signal.#aborted = true;
      signal.#reason = reason;
      return signal;
    }
    static timeout(ms) {
      const signal = made();
      later(() => abort(signal, new Thrown("The operation was aborted due to timeout", "TimeoutError")), ms);
      return signal;
    }
    static any(signals) {
      const all = [];
      for (const signal of signals) {
        if (!isSignal(signal)) throw new TypeErrorOf("AbortSignal.any takes a list of signals");
        push(all, signal);
      }
      const signal = made();
      for (let i = 0; i < all.length; i++) if (all[i].#aborted) return abort(signal, all[i].#reason), signal;
      for (let i = 0; i < all.length; i++) push(all[i].#dependent, signal);
      return signal;
    }
    static made = () => {
      isMaking = true;
      try {
        return new AbortSignal();
      } finally {
        isMaking = false;
      }
    };
    static isSignal = (value) => typeof value === "object" && value !== null && #steps in value;
    static whenAborted = (signal, step) => push(signal.#steps, step);
    static handlerOf = (signal) => signal.#handler;
    // All of them are aborted before any code learns of it.
    static #mark(signal, reason, all) {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason;
      push(all, signal);
      const dependent = signal.#dependent;
      signal.#dependent = [];
      for (let i = 0; i < dependent.length; i++) Signal.#mark(dependent[i], reason, all);
    }
    static abort_ = (signal, reason) => {
      const all = [];
      Signal.#mark(signal, reason, all);
      for (let i = 0; i < all.length; i++) {
        const steps = all[i].#steps;
        all[i].#steps = [];
        for (let k = 0; k < steps.length; k++) steps[k]();
        dispatch(all[i], new AbortEvent("abort"));
      }
    };
  }
  const AbortEvent = Event;
  const Signal = AbortSignal;
  const { made, isSignal, whenAborted, handlerOf, abort_: abort } = AbortSignal;
  for (const name of ["made", "isSignal", "whenAborted", "handlerOf", "abort_"]) delete AbortSignal[name];
  const add = unboundOf(EventTarget.prototype.addEventListener);
  function unboundOf(method) {
    return cloche.own.unbound(method);
  }
  const handle = function (event) {
    return apply(handlerOf(this), this, [event]);
  };

  class AbortController {
    #signal = made();
    get signal() {
      return this.#signal;
    }
    abort(reason = new Thrown("This operation was aborted", "AbortError")) {
      abort(this.#signal, reason);
    }
  }

  expose(Event.prototype, [
    "type", "target", "currentTarget", "bubbles", "cancelable", "defaultPrevented", "timeStamp", "isTrusted", "preventDefault",
    "stopPropagation", "stopImmediatePropagation", "composedPath",
  ]);
  expose(EventTarget.prototype, ["addEventListener", "removeEventListener", "dispatchEvent"]);
  expose(AbortSignal.prototype, ["aborted", "reason", "onabort", "throwIfAborted"]);
  expose(AbortController.prototype, ["signal", "abort"]);
  const classes = { Event, CustomEvent, EventTarget, AbortSignal, AbortController };
  for (const name of Object.keys(classes)) {
    tag(classes[name].prototype, name);
    define(name, classes[name]);
  }
}
