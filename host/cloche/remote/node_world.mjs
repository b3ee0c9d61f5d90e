// What a step of an older Workflow SDK (4.x) finds as its World: somewhere to write the streams of its run. Each chunk comes as the SDK
// frames it, four bytes of length and a text of its own kind of JSON; what is written is the value.

/** @param {AsyncLocalStorage} contexts of the steps: `writables` has the streams of the one that runs. */
export const worldOf = (contexts) => {
  const streamOf = (name) => {
    const found = contexts.getStore()?.writables;
    if (found === undefined) throw new Error(`no step runs that could write to the stream ${name}`);
    return found.get(name).writable;
  };
  const using = async (name, use) => {
    const writer = streamOf(name).getWriter();
    try {
      await use(writer);
    } finally {
      writer.releaseLock();
    }
  };
  const write = (name, run, chunk) => using(name, async (writer) => {
    for (const value of valuesIn(Buffer.from(chunk))) await writer.write(value);
  });
  return {
    streamFlushIntervalMs: 1,
    writeToStream: write,
    writeToStreamMulti: async (name, run, chunks) => {
      for (const chunk of chunks) await write(name, run, chunk);
    },
    closeStream: (name) => using(name, (writer) => writer.close()),
  };
};

function* valuesIn(bytes) {
  for (let at = 0; at + 4 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    const kind = bytes.toString("latin1", at + 4, at + 8);
    if (kind !== "devl" || at + 4 + size > bytes.length) throw new Error(`a chunk is not as the Workflow SDK frames one: ${kind}`);
    yield valueOf(JSON.parse(bytes.toString("utf8", at + 8, at + 4 + size)));
    at += 4 + size;
  }
}

const SPECIAL = { "-1": undefined, "-3": NaN, "-4": Infinity, "-5": -Infinity, "-6": -0 };
const KINDS = {
  Date: (of, [iso]) => new Date(iso),
  BigInt: (of, [digits]) => BigInt(digits),
  RegExp: (of, [source, flags]) => new RegExp(source, flags),
  Set: (of, items) => new Set(items.map(of)),
  Map: (of, items) => new Map(Array.from({ length: items.length / 2 }, (_, i) => [of(items[2 * i]), of(items[2 * i + 1])])),
  Uint8Array: (of, [base64]) => new Uint8Array(Buffer.from(of(base64), "base64")),
  null: (of, items) => Object.fromEntries(Array.from({ length: items.length / 2 }, (_, i) => [items[2 * i], of(items[2 * i + 1])])),
};

// The list that the value was flattened into: each member names its own members by their places, the first is the whole.
const valueOf = (flat) => {
  if (typeof flat === "number") return SPECIAL[flat];
  const made = new Map();
  const of = (place) => {
    if (place < 0) return SPECIAL[place];
    if (!made.has(place)) made.set(place, read(flat[place], place));
    return made.get(place);
  };
  const read = (one, place) => {
    if (typeof one !== "object" || one === null) return one;
    if (Array.isArray(one) && typeof one[0] === "string") {
      const [kind, ...rest] = one;
      if (!Object.hasOwn(KINDS, kind)) throw new Error(`a step cannot write a value of the kind ${kind} to a stream here`);
      return KINDS[kind](of, rest);
    }
    const out = Array.isArray(one) ? [] : {};
    made.set(place, out);
    for (const key of Object.keys(one)) out[key] = of(one[key]);
    return out;
  };
  return of(0);
};
