// What the web has and a workflow rarely needs: its files lie in `later/` as text, and are evaluated when one of their names is
// first used. A cell that uses none pays nothing. And how what is there anyhow crosses between a workflow and its steps.
(cloche) => {
  "use strict";

  const { define, unbound, newMap, newWeakMap, packers, forms, called, onRequest } = cloche.own;
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const [UrlOf, ParamsOf, SignalOf, ControllerOf, ErrorOf, StringOf] = [URL, URLSearchParams, AbortSignal, AbortController, Error, String];
  const { stringify } = JSON;
  const symbolFor = Symbol.for;
  const sliced = unbound(String.prototype.slice);
  const { evaluate, hook, abandon } = cloche;
  const [then, now] = [unbound(Promise.prototype.then), Promise.resolve()];
  const own = cloche.own;

  const keyOf = (name) => (name[0] === "@" ? symbolFor(sliced(name, 1)) : name);

  // `names` on the global object, and `kinds` of values that come in: the first of them that is asked for evaluates `text`.
  own.later = (names, kinds, text) => {
    let brought;
    const bring = () => {
      if (brought !== undefined) return;
      brought = {};
      for (let i = 0; i < kinds.length; i++) delete forms[kinds[i]];
      brought = evaluate(text)(own);
      for (let i = 0; i < names.length; i++) if (isLate(names[i])) define(keyOf(names[i]), brought[names[i]]);
    };
    const late = newMap();
    const isLate = (name) => getOwnPropertyDescriptor(globalThis, keyOf(name))?.get === late.get(name);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      const get = () => {
        bring();
        return brought[name];
      };
      late.set(name, get);
      const set = (value) => define(keyOf(name), value);
      defineProperty(globalThis, keyOf(name), { __proto__: null, get, set, configurable: true, enumerable: false });
    }
    for (let i = 0; i < kinds.length; i++) {
      const get = () => {
        bring();
        return forms[kinds[i]];
      };
      defineProperty(forms, kinds[i], { __proto__: null, get, configurable: true, enumerable: true });
    }
  };

  // A signal that a step holds has a name in the run: when the workflow aborts it, live steps are told. A step that holds the
  // controller can abort it too: the run waits for that with an event, until it is aborted.
  const names = newWeakMap();
  const watched = newWeakMap();
  let last = 0;
  const nameOf = (signal) => {
    let name = names.get(signal);
    if (name === undefined) {
      last += 1;
      name = "signal-" + last;
      names.set(signal, name);
      const told = () => {
        if (watched.get(signal) !== true) called("__cloche_abort", name, signal.reason);
      };
      if (!signal.aborted) signal.addEventListener("abort", told, { once: true });
    }
    return name;
  };
  const watch = (controller) => {
    const { signal } = controller;
    if (signal.aborted || watched.get(signal) !== undefined) return;
    const name = "abort:" + nameOf(signal);
    watched.set(signal, false);
    then(now, () => { // not while the call that it crosses with is being written
      if (signal.aborted) return;
      const call = hook(name, name, null);
      signal.addEventListener("abort", () => abandon(call), { once: true });
      then(call, (reason) => {
        watched.set(signal, true); // whoever holds it was told by the step
        controller.abort(reason);
      }, () => {});
    });
  };
  const ofSignal = (kind, signal) => {
    const form = { "~": kind, id: nameOf(signal), aborted: signal.aborted };
    if (signal.aborted) form.reason = signal.reason;
    return form;
  };
  own.push(packers, (value) => {
    if (value instanceof UrlOf) return { "~": "url", href: value.href };
    if (value instanceof ParamsOf) return { "~": "params", text: StringOf(value) };
    if (value instanceof SignalOf) return ofSignal("signal", value);
    if (value instanceof ControllerOf) {
      watch(value);
      return ofSignal("controller", value.signal);
    }
    return undefined;
  });
  const controllerOf = ({ aborted, reason }) => {
    const controller = new ControllerOf();
    if (aborted) controller.abort(reason);
    return controller;
  };
  forms.url = ({ href }) => new UrlOf(href);
  forms.params = ({ text }) => new ParamsOf(text);
  forms.signal = (form) => controllerOf(form).signal;
  forms.controller = controllerOf;

  // What a webhook received, as the request that it was.
  onRequest((value, url) => {
    const isWhole = typeof value === "object" && value !== null && "headers" in value && "body" in value;
    const { headers = {}, body = null, method = "POST" } = isWhole ? value : { body: value };
    const text = body === null || typeof body === "string" ? body : stringify(body);
    const type = typeof body === "string" ? {} : { "content-type": "application/json" };
    return forms.request({ url, method, headers: { ...type, ...headers }, body: text });
  });

  const fetching = {
    fetch() {
      throw new ErrorOf("fetch is not there in a workflow function, whose code must not depend on what is outside: fetch in a step, or import { fetch } from \"workflow\", which is one");
    },
  };
  define("fetch", fetching.fetch);
};
