// The words of "use workflow" code as compilers emit it: symbols on the global object, and what values mean between a workflow
// and its steps. A module whose default export is a Map from ids to functions holds several workflows; `given.run` says which.
(cloche) => {
  "use strict";

  const { step, bundled, sleep, sleepUntil, hook, abandon, tags, getRandomValues } = cloche;
  const cloche_own = cloche.own;
  const { unbound, newMap, hide, push, getterOf } = cloche_own;
  const { defineProperty, getPrototypeOf, keys, assign, create } = Object;
  const { apply } = Reflect;
  const { isArray } = Array;
  const { isError } = Error;
  const { isView } = ArrayBuffer;
  const symbolFor = Symbol.for;
  const [MapOf, SetOf, RegExpOf, DateOf, Buffer, View, ErrorOf, TypeErrorOf, PromiseOf, Bytes, StringOf] = [
    Map, Set, RegExp, Date, ArrayBuffer, DataView, Error, TypeError, Promise, Uint8Array, String,
  ];
  const then = unbound(Promise.prototype.then);
  const resolved = PromiseOf.resolve.bind(PromiseOf);
  const [eachOfMap, eachOfSet, setIn, addTo, timeOf, split, replaced, sliced, lowered] = [
    Map.prototype.forEach, Set.prototype.forEach, Map.prototype.set, Set.prototype.add, Date.prototype.getTime,
    String.prototype.split, String.prototype.replace, String.prototype.slice,
    String.prototype.toLowerCase,
  ].map((method) => unbound(method));
  const [matched, getFrom] = [unbound(RegExp.prototype.exec), unbound(Map.prototype.get)];
  const sizeOfMap = getterOf(Map.prototype, "size");
  const [sourceOf, flagsOf] = [getterOf(RegExp.prototype, "source"), getterOf(RegExp.prototype, "flags")];
  const Typed = getPrototypeOf(Uint8Array.prototype);
  const kindOfTyped = getterOf(Typed, Symbol.toStringTag);
  const [typedBuffer, typedOffset, typedLength] = ["buffer", "byteOffset", "byteLength"].map((name) => getterOf(Typed, name));
  const [viewBuffer, viewOffset, viewLength] = ["buffer", "byteOffset", "byteLength"].map((name) => getterOf(View.prototype, name));
  const copied = unbound(Uint8Array.prototype.slice);
  const VIEWS = { __proto__: null, DataView };
  for (const Type of [
    Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array, Float16Array,
    Float32Array, Float64Array,
  ]) VIEWS[Type.name] = Type;
  const ERRORS = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const { parse: parseDate } = Date;
  const { encode64 } = { encode64: btoa };

  const NAME_MAX = 200;
  const STREAM_NAME = symbolFor("WORKFLOW_STREAM_NAME");
  const STREAM_MODE = Symbol("mode"); // of a handle that came from a step
  const STREAM_RUN = Symbol("run"); // of one that another run writes
  const SERIALIZE = symbolFor("workflow-serialize");
  const DESERIALIZE = symbolFor("workflow-deserialize");
  const CLASSES = symbolFor("workflow-class-registry");
  const RUN_CLASS = "class//workflow//Run";

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  // The last part of an id is what its calls are called in the log: `add`, `add#2` … Their name is the whole id.
  const lastOf = (id) => {
    const parts = split(id, "//");
    return parts[parts.length - 1];
  };
  const lastPart = (id) => sliced(replaced(lastOf(id), /[/[\]#]/g, "."), 0, NAME_MAX) || "step";

  const proxyOf = (id, captured, bound) => {
    const call = bundled(id, lastPart(id), captured);
    const proxy = bound === undefined ? call : (...rest) => apply(call, bound.self, [...bound.args, ...rest]);
    hide(proxy, "name", lastPart(id));
    hide(proxy, "stepId", id);
    hide(proxy, "__closureVarsFn", captured);
    hide(proxy, "bind", (self, ...args) => {
      const both = bound === undefined ? { self, args } : { self: bound.self, args: [...bound.args, ...args] };
      return proxyOf(id, captured, both);
    });
    if (bound !== undefined) {
      hide(proxy, "__boundThis", bound.self);
      hide(proxy, "__boundArgs", bound.args);
    }
    return proxy;
  };

  const called = (id, ...args) => apply(bundled(id, lastPart(id), undefined), undefined, args);

  // ── sleep ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  const UNITS = {
    __proto__: null, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_557_600_000,
  };
  const LONG = /^(?:(msecs?|milliseconds?|millis)|(secs?|seconds?)|(mins?|minutes?)|(hrs?|hours?)|(days?)|(weeks?)|(yrs?|years?))$/;
  const SHORT = ["", "ms", "s", "m", "h", "d", "w", "y"];
  const unitOf = (word) => {
    if (word in UNITS) return UNITS[word];
    const found = matched(LONG, word);
    for (let i = 1; found !== null && i < SHORT.length; i++) if (found[i] !== undefined) return UNITS[SHORT[i]];
    return undefined;
  };
  const counts = newMap();
  const placeOf = (name) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return count === 1 ? name : name + "#" + count;
  };

  // How many milliseconds "3 days" are; undefined for what is no duration.
  const millis = (text) => {
    const found = matched(/^\s*(-?\d*\.?\d+)\s*([a-z]*)\s*$/i, text);
    const unit = found === null ? undefined : unitOf(lowered(found[2]) || "ms");
    return unit === undefined ? undefined : +found[1] * unit;
  };
  const lasting = (given) => {
    const ms = typeof given === "number" ? given : millis(StringOf(given));
    if (ms === undefined || !(ms >= 0)) throw new TypeErrorOf("Invalid duration: \"" + StringOf(given) + "\": a time is \"3 days\", or milliseconds from 0 on");
    return ms;
  };
  cloche.own.lasting = lasting;

  const sleepFor = (given) => {
    const isDate = given instanceof DateOf;
    if (!isDate && (typeof given === "number" || millis(StringOf(given)) !== undefined)) return sleep(placeOf("sleep"), lasting(given), null);
    const at = isDate ? timeOf(given) : parseDate(StringOf(given));
    if (at !== at) throw new TypeErrorOf("Invalid duration: \"" + StringOf(given) + "\": sleep takes \"3 days\", milliseconds or a Date");
    return sleepUntil(placeOf("sleep"), at, null);
  };

  // ── hooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  const tokenOf = () => {
    const bytes = getRandomValues(new Bytes(16));
    let text = "";
    for (let i = 0; i < 16; i++) text += (bytes[i] < 16 ? "0" : "") + bytes[i].toString(16);
    return text;
  };
  const first = (list) => {
    const found = list[0];
    for (let i = 1; i < list.length; i++) list[i - 1] = list[i];
    list.length -= 1;
    return found;
  };
  const errorClass = (name) => globalThis[symbolFor("@workflow/errors//" + name)] ?? cloche_own.errors?.[name];
  const conflictOf = (token, message) => {
    const Known = errorClass("HookConflictError");
    const error = typeof Known === "function" ? new Known(token) : new ErrorOf(message);
    hide(error, "message", message);
    hide(error, "name", "HookConflictError");
    return error;
  };
  const tokens = newMap();

  // A hook takes many payloads, and one call of ours takes one: the next is asked for in the turn in which one has come.
  const createHook = (options) => {
    const given = options ?? {};
    const token = given.token ?? tokenOf();
    if (typeof token !== "string" || token === "" || token.length > NAME_MAX) {
      throw new TypeErrorOf("the token of a hook is a text of 1 to 200 characters");
    }
    const place = placeOf(given.isWebhook ? "webhook" : "hook");
    const received = [];
    const waiting = [];
    let [number, call, failure, closed] = [0, undefined, undefined, false];
    const end = (error) => {
      closed = true;
      failure = error;
      tokens.delete(token);
      while (waiting.length > 0) first(waiting).reject(failure);
    };
    const ask = () => {
      number += 1;
      call = hook(place + "[" + number + "]", token, given.metadata ?? null, { token });
      then(call, take, (error) => end(error.name === "HookConflict" ? conflictOf(token, error.message) : error));
    };
    const take = (value) => {
      if (!closed) ask();
      const payload = given.isWebhook ? cloche_requestOf(value, self.url) : value;
      if (waiting.length > 0) first(waiting).resolve(payload);
      else push(received, payload);
    };
    const next = () =>
      new PromiseOf((resolve, reject) => {
        if (received.length > 0) resolve(first(received));
        else if (failure !== undefined) reject(failure);
        else if (!closed) push(waiting, { resolve, reject });
      });
    const dispose = () => {
      if (closed) return;
      closed = true;
      abandon(call);
      tokens.delete(token);
    };
    const self = {
      token,
      then: (resolve, reject) => then(next(), resolve, reject),
      getConflict: () => {
        if (failure !== undefined && call === undefined) return resolved({ token });
        return called("__cloche_hook_conflict", token);
      },
      dispose,
      [Symbol.dispose]: dispose,
      [Symbol.asyncIterator]: () => ({
        next: () => then(next(), (value) => ({ value, done: false })),
        return: () => resolved({ value: undefined, done: true }),
        [Symbol.asyncIterator]() {
          return this;
        },
      }),
    };
    if (given.isWebhook) self.url = "/v1/hooks/" + encodeURIComponent(token);
    if (tokens.get(token) === true) end(conflictOf(token, "a hook of this run waits for the token " + token + " already"));
    else {
      tokens.set(token, true);
      ask();
    }
    return self;
  };
  const cloche_requestOf = (value, url) => (requestOf === undefined ? value : requestOf(value, url));
  let requestOf;

  // ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────
  // Kinds of the web's classes are added by those who bring them: `forms` revive, `packers` say what an object is.
  const forms = { __proto__: null };
  const packers = [];
  cloche.own.forms = forms;
  cloche.own.packers = packers;
  cloche.own.called = called;
  cloche.own.onRequest = (make) => {
    requestOf = make;
  };

  const ofFunction = (value) => {
    if (typeof value.stepId === "string") {
      const form = { "~": "step", id: value.stepId };
      const captured = value.__closureVarsFn?.();
      if (captured !== undefined) form.closure = captured;
      if (value.__boundArgs !== undefined) assign(form, { self: value.__boundThis, args: value.__boundArgs });
      return form;
    }
    if (typeof value.workflowId === "string") return { "~": "workflow", id: value.workflowId };
    if (typeof value.classId === "string") return { "~": "class", id: value.classId };
    return "is a function, and neither a step, a workflow nor a class that crosses";
  };

  const ofView = (value) => {
    if (value instanceof View) {
      return { "~": "view", kind: "DataView", bytes: copied(new Bytes(viewBuffer(value), viewOffset(value), viewLength(value))) };
    }
    const bytes = copied(new Bytes(typedBuffer(value), typedOffset(value), typedLength(value)));
    return { "~": "view", kind: kindOfTyped(value), bytes };
  };

  const pack = (value) => {
    if (typeof value === "function") return ofFunction(value);
    const name = value[STREAM_NAME];
    if (typeof name === "string") {
      const form = { "~": "stream", name, mode: value[STREAM_MODE] ?? "writable" };
      if (value[STREAM_RUN] !== undefined) form.run = value[STREAM_RUN];
      return form;
    }
    const Kind = value.constructor;
    const write = typeof Kind === "function" ? Kind[SERIALIZE] : undefined;
    if (typeof write === "function" && typeof Kind.classId === "string") {
      return { "~": "instance", id: Kind.classId, data: apply(write, Kind, [value]) };
    }
    if (value instanceof MapOf) {
      const entries = [];
      eachOfMap(value, (item, key) => push(entries, [key, item]));
      return { "~": "map", entries };
    }
    if (value instanceof SetOf) {
      const items = [];
      eachOfSet(value, (item) => push(items, item));
      return { "~": "set", items };
    }
    if (value instanceof DateOf) return timeOf(value) === timeOf(value) ? undefined : { "~": "date" };
    if (value instanceof RegExpOf) return { "~": "regexp", source: sourceOf(value), flags: flagsOf(value) };
    if (value instanceof Buffer) return { "~": "buffer", bytes: copied(new Bytes(value)) };
    if (isView(value)) return ofView(value);
    for (let i = 0; i < packers.length; i++) {
      const form = packers[i](value);
      if (form !== undefined) return form;
    }
    return undefined;
  };

  const classOf = (id) => {
    const registry = globalThis[CLASSES];
    const Kind = (registry instanceof MapOf ? getFrom(registry, id) : undefined) ?? (id === RUN_CLASS ? cloche_own.Run : undefined);
    if (Kind === undefined) throw new TypeErrorOf("the class " + id + " is not in this code");
    return Kind;
  };

  const errorOf = ({ name, message, data, cause }) => {
    const Known = errorClass(name) ?? ERRORS[name];
    const error = typeof Known === "function" ? new Known(message) : new ErrorOf(message);
    if (error.name !== name) hide(error, "name", name);
    if (error.message !== message) hide(error, "message", message);
    if (cause !== undefined) hide(error, "cause", isError(cause) ? cause : errorOf(cause));
    if (typeof data === "object" && data !== null && !isArray(data)) assign(error, data);
    return error;
  };

  const revivers = {
    __proto__: null,
    undefined: () => undefined,
    date: () => new DateOf(NaN),
    object: ({ value }) => value,
    map: ({ entries }) => {
      const map = new MapOf();
      for (let i = 0; i < entries.length; i++) setIn(map, entries[i][0], entries[i][1]);
      return map;
    },
    set: ({ items }) => {
      const set = new SetOf();
      for (let i = 0; i < items.length; i++) addTo(set, items[i]);
      return set;
    },
    regexp: ({ source, flags }) => new RegExpOf(source, flags),
    buffer: ({ bytes }) => typedBuffer(copied(bytes)),
    view: ({ kind, bytes }) => new VIEWS[kind](typedBuffer(copied(bytes))),
    error: ({ failure }) => errorOf(failure),
    step: ({ id, closure, self, args }) =>
      proxyOf(id, closure === undefined ? undefined : () => closure, args === undefined ? undefined : { self, args }),
    workflow: ({ id }) => {
      const refused = () => {
        throw new ErrorOf("a workflow is not called: start(workflow, args) begins a run of it");
      };
      hide(refused, "workflowId", id);
      return refused;
    },
    class: ({ id }) => classOf(id),
    instance: ({ id, data }) => {
      const Kind = classOf(id);
      return apply(Kind[DESERIALIZE], Kind, [data]);
    },
    stream: ({ name, mode, run }) => {
      const stream = create((mode === "readable" ? globalThis.ReadableStream : globalThis.WritableStream).prototype);
      hide(stream, STREAM_NAME, name);
      hide(stream, STREAM_MODE, mode);
      if (run !== undefined) hide(stream, STREAM_RUN, run);
      return stream;
    },
  };

  const revive = (object) => {
    const kind = object["~"];
    const make = typeof kind === "string" ? revivers[kind] ?? forms[kind] : undefined;
    return make === undefined ? object : make(object);
  };

  // A step that failed for good is a FatalError to the workflow; what was thrown is its cause.
  const reviveFailure = (error) => {
    const { name, message, data, cause } = error;
    const inner = errorOf({ name, message, data, cause });
    if (name === "FatalError") return inner;
    const fatal = errorOf({ name: "FatalError", message, cause: inner });
    if (fatal.fatal === undefined) hide(fatal, "fatal", true);
    return fatal;
  };

  // ── a run of one of several ───────────────────────────────────────────────────────────────────────────────────────
  const isBundle = (exported) => {
    if (!(exported instanceof MapOf)) return false;
    let all = sizeOfMap(exported) > 0;
    eachOfMap(exported, (value) => {
      all &&= typeof value === "function";
    });
    return all;
  };

  const entryOf = (exported, named) => {
    const ids = [];
    const called = [];
    eachOfMap(exported, (_, id) => {
      push(ids, id);
      if (lastOf(id) === named) push(called, id);
    });
    const one = getFrom(exported, named) === undefined && called.length === 1 ? called[0] : named;
    const id = one ?? (ids.length === 1 ? ids[0] : undefined);
    const found = id === undefined ? undefined : getFrom(exported, id);
    if (found !== undefined) return [id, found];
    throw new TypeErrorOf("the code has no workflow " + StringOf(named) + "; it has " + ids.join(", "));
  };

  const enter = (exported, input, given) => {
    const { id: runId = "", entry, spread = true } = given.run ?? {};
    const [id, workflow] = entryOf(exported, entry);
    const put = (name, value) =>
      defineProperty(globalThis, symbolFor(name), { __proto__: null, value, writable: true, configurable: true });
    put("WORKFLOW_CONTEXT", {
      workflowName: id, workflowRunId: runId, workflowStartedAt: new DateOf(), url: "", features: { encryption: false },
    });
    const stream = "strm_" + replaced(runId, /^wrun_/, "") + "_user";
    put("WORKFLOW_GET_STREAM_ID", (namespace) => {
      if (namespace === undefined) return stream;
      return stream + "_" + replaced(replaced(replaced(encode64(namespace), /\+/g, "-"), /\//g, "_"), /=/g, "");
    });
    const args = !spread ? [input] : isArray(input) ? input : input === null ? [] : [input];
    return apply(workflow, undefined, args);
  };

  const setAttributes = (changes) => {
    const named = {};
    const list = isArray(changes) ? changes : keys(changes).map((key) => ({ key, value: changes[key] }));
    for (let i = 0; i < list.length; i++) named[list[i].key] = list[i].value ?? null;
    if (keys(named).length > 0) tags(named);
    return resolved(undefined);
  };

  hide(globalThis, "__private_workflows", new MapOf());
  cloche.bundles(isBundle, enter, pack, revive, reviveFailure, (id, captured) => proxyOf(StringOf(id), captured));
  const word = (name, value) => defineProperty(globalThis, symbolFor(name), { __proto__: null, value });
  word("WORKFLOW_USE_STEP", step);
  word("WORKFLOW_SLEEP", sleepFor);
  word("WORKFLOW_CREATE_HOOK", createHook);
  word("WORKFLOW_SET_ATTRIBUTES", setAttributes);
};
