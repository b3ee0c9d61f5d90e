// What a run says of itself, and hooks: places where whoever knows the token sends payloads, whatever the run is called.
(cloche) => {
  "use strict";

  const { tags, deadline, goOn, hook, child, abandon, getRandomValues } = cloche;
  const { unbound, newMap, push } = cloche.own;
  const { freeze, keys } = Object;
  const [DateOf, TypeErrorOf, ErrorOf, PromiseOf, Bytes, StringOf] = [Date, TypeError, Error, Promise, Uint8Array, String];
  const then = unbound(Promise.prototype.then);
  const getTime = unbound(Date.prototype.getTime);
  const now = Date.now;
  const iterator = Symbol.asyncIterator;
  const NAME_MAX = 200;
  const TAGS_MAX = 64;

  // What may be a name is the host's definition (`cloche.history.ids`); a test compares the two.
  const NOT_IN_NAMES = /[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{13430}-\u{1345f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/u;
  const [found, normalized, trimmed, indexOf] = [
    unbound(RegExp.prototype.exec), unbound(StringOf.prototype.normalize), unbound(StringOf.prototype.trim), unbound(StringOf.prototype.indexOf),
  ];
  const codeAt = unbound(StringOf.prototype.charCodeAt);
  const shows = (text) => found(NOT_IN_NAMES, text) === null && trimmed(text) === text && normalized(text) === text;
  const sizeOf = (text) => {
    let bytes = 0;
    for (let i = 0; i < text.length; i++) {
      const code = codeAt(text, i);
      bytes += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 2 : 3;
    }
    return bytes;
  };

  const isName = (text) => typeof text === "string" && text !== "" && text.length <= NAME_MAX;
  const isId = (text) => isName(text) && sizeOf(text) <= NAME_MAX && indexOf(text, " › ") < 0 && shows(text);
  const isTag = (value) => value === null || isName(value) || typeof value === "boolean" || typeof value === "number";

  // Tags that the run can be found by, beside those that it has; null removes one.
  cloche.setTags = (named) => {
    if (typeof named !== "object" || named === null) throw new TypeErrorOf("setTags takes an object: setTags({ customer: \"c-17\" })");
    const names = keys(named);
    if (names.length < 1 || names.length > TAGS_MAX) throw new TypeErrorOf("setTags takes 1 to " + TAGS_MAX + " tags at a time, not " + names.length);
    for (let i = 0; i < names.length; i++) {
      if (!isName(names[i]) || !isTag(named[names[i]])) throw new TypeErrorOf("tag " + StringOf(names[i]) + " is no text of 1 to 200 characters, number, boolean or null");
    }
    tags(named);
  };

  // When the run must have ended: a Date, or milliseconds from now; undefined or null takes it back.
  cloche.setDeadline = (when) => {
    if (when === undefined || when === null) return deadline(undefined);
    const due = when instanceof DateOf ? getTime(when) : typeof when === "number" ? now() + when : NaN;
    if (due !== due) throw new TypeErrorOf("setDeadline takes a Date, or milliseconds from now");
    deadline(due);
  };

  // This history ends, and the run goes on as the next one, with this input. What is open is given up.
  cloche.continueAsNew = (input) => goOn(input);

  // The result of a run of its own, of that workflow. `id` is what it is called under this run, in the place of a number.
  cloche.child = (path, workflow, input, options) => {
    const id = options?.id;
    if (id === undefined) return child(path, workflow, input);
    if (isId(id)) return child(path, workflow, input, { id });
    const why = "the id of a child is a text of 1 to 200 bytes in Unicode's form NFC, without marks that do not show and without ' › '";
    return PromiseOf.reject(new TypeErrorOf(why));
  };

  // ── hooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────
  const counts = newMap();
  const pathOf = (name) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return count === 1 ? name : name + "#" + count;
  };

  const tokenOf = () => {
    const bytes = getRandomValues(new Bytes(16));
    let text = "";
    for (let i = 0; i < 16; i++) text += (bytes[i] < 16 ? "0" : "") + bytes[i].toString(16);
    return text;
  };

  const tokens = newMap();

  // One call after the other under one name, the token: when a payload has come, the next one is asked for in the same turn.
  class Hook {
    #name; #call; #received = []; #waiting = []; #closed = false; #error = undefined;

    constructor(token, name) {
      this.token = token;
      this.#name = name;
      freeze(this);
      this.#ask();
    }

    #ask() {
      this.#call = hook(pathOf(this.#name), this.token, null, { token: this.token });
      then(this.#call, (value) => this.#take(value), (error) => this.#end(error));
    }

    #take(value) {
      if (!this.#closed) this.#ask();
      if (this.#waiting.length > 0) this.#first(this.#waiting).resolve({ value, done: false });
      else push(this.#received, value);
    }

    #first(list) {
      const found = list[0];
      for (let i = 1; i < list.length; i++) list[i - 1] = list[i];
      list.length -= 1;
      return found;
    }

    #end(error) {
      this.#closed = true;
      this.#error = error;
      tokens.delete(this.token);
      while (this.#waiting.length > 0) this.#over(this.#first(this.#waiting));
    }

    #over(waiting) {
      if (this.#error === undefined) waiting.resolve({ value: undefined, done: true });
      else waiting.reject(this.#error);
    }

    // { value, done }: the next payload, as an iterator gives it.
    next() {
      return new PromiseOf((resolve, reject) => {
        if (this.#received.length > 0) resolve({ value: this.#first(this.#received), done: false });
        else if (this.#closed) this.#over({ resolve, reject });
        else push(this.#waiting, { resolve, reject });
      });
    }

    // `await hook` is the next payload.
    then(resolve, reject) {
      return then(then(this.next(), ({ value, done }) => {
        if (done) throw new ErrorOf("the hook is closed: nothing more comes for it");
        return value;
      }), resolve, reject);
    }

    // Nothing more is received; who waits for it goes on. What has been received can still be taken.
    close() {
      if (this.#closed) return;
      abandon(this.#call);
      this.#end(undefined);
    }

    return() {
      this.close();
      return then(PromiseOf.resolve(undefined), (value) => ({ value, done: true }));
    }

    [iterator]() {
      return this;
    }
  }

  // A place where payloads are waited for from now on. `token` is the author's own, which no other open hook of the tenant may
  // have; without one it is 128 bits that nobody can compute who does not know the run's seed. `name`: what its calls are called.
  cloche.createHook = (options) => {
    const { token = tokenOf(), name = "hook" } = options ?? {};
    if (!isName(token) || !isName(name)) throw new TypeErrorOf("the token and the name of a hook are texts of 1 to 200 characters");
    if (tokens.get(token) === true) {
      const error = new ErrorOf("a hook of this run waits for the token " + token + " already");
      error.name = "HookConflict";
      throw error;
    }
    tokens.set(token, true);
    return new Hook(token, name);
  };
};
