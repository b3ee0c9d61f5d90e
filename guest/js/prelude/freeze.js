// Evaluated last: the namespace becomes the frozen global `cloche`. Workflow code can read it and not change it.
(cloche) => {
  const { defineProperty, freeze, values } = Object;

  // Only the prelude itself may hear events as they arrive, and end calls by their number.
  for (const name of [
    "listen", "openCalls", "drop", "mark", "tags", "deadline", "goOn", "bigints", "instants", "bundles", "bundled", "evaluate", "log", "random", "getRandomValues", "randomUUID", "hasStarted",
    "encodeText", "decodeText", "traces", "unhandled", "zoneOf", "zoneAt", "zoneNames", "digestOf", "own",
  ]) delete cloche[name];

  for (const member of values(Object.getOwnPropertyDescriptors(cloche))) {
    const { value } = member;
    if (typeof value === "function" || (typeof value === "object" && value !== null)) freeze(value);
    if (typeof value === "function" && value.prototype) freeze(value.prototype);
  }
  defineProperty(globalThis, "cloche", { value: freeze(cloche) });
}
