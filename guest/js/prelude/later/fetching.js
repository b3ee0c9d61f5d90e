// Brings: Headers Request Response Blob File FormData
// Forms: headers request response blob file form
// What is fetched in steps, as values: nothing here reaches a network, and a body lies in the value itself.
(own) => {
  "use strict";

  const { expose, tag, forms, packers } = own;
  const encoder = new TextEncoder();
  const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  const nameOf = (name) => {
    const text = String(name);
    if (!TOKEN.test(text)) throw new TypeError("a header is not called \"" + text + "\"");
    return text.toLowerCase();
  };
  const valueOf = (value) => {
    const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
    if (/[\0\n\r]|[^\0-\xff]/.test(text)) throw new TypeError("this is no value of a header: " + JSON.stringify(text));
    return text;
  };
  const pairsOf = (init) => {
    if (init === undefined || init === null) return [];
    if (typeof init !== "object") throw new TypeError("these are no headers: " + String(init));
    if (typeof init[Symbol.iterator] !== "function") return Object.entries(init);
    return [...init].map((pair) => {
      const both = [...pair];
      if (both.length !== 2) throw new TypeError("a header is a pair of name and value");
      return both;
    });
  };

  class Headers {
    #all = new Map(); // name -> its values
    constructor(init = undefined) {
      for (const [name, value] of pairsOf(init)) this.append(name, value);
    }
    append(name, value) {
      const key = nameOf(name);
      this.#all.set(key, [...(this.#all.get(key) ?? []), valueOf(value)]);
    }
    set(name, value) {
      this.#all.set(nameOf(name), [valueOf(value)]);
    }
    get(name) {
      return this.#all.get(nameOf(name))?.join(", ") ?? null;
    }
    has(name) {
      return this.#all.has(nameOf(name));
    }
    delete(name) {
      this.#all.delete(nameOf(name));
    }
    getSetCookie() {
      return [...(this.#all.get("set-cookie") ?? [])];
    }
    *entries() {
      for (const key of [...this.#all.keys()].sort()) {
        const values = this.#all.get(key);
        if (key === "set-cookie") for (const value of values) yield [key, value];
        else yield [key, values.join(", ")];
      }
    }
    *keys() {
      for (const [key] of this.entries()) yield key;
    }
    *values() {
      for (const [, value] of this.entries()) yield value;
    }
    forEach(each, self = undefined) {
      for (const [key, value] of this.entries()) Reflect.apply(each, self, [value, key, this]);
    }
  }

  // ── blobs and forms ───────────────────────────────────────────────────────────────────────────────────────────────
  const joined = (parts) => {
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  };
  const bytesOf = (part) => {
    if (part instanceof Blob) return blobBytes(part);
    if (part instanceof ArrayBuffer) return new Uint8Array(part).slice();
    if (ArrayBuffer.isView(part)) return new Uint8Array(part.buffer, part.byteOffset, part.byteLength).slice();
    return encoder.encode(String(part));
  };

  class Blob {
    #bytes;
    #type;
    constructor(parts = [], options = undefined) {
      if (typeof parts !== "object" || parts === null) throw new TypeError("a blob is made of a list of parts");
      this.#bytes = joined([...parts].map(bytesOf));
      const type = String(options?.type ?? "");
      this.#type = /[^\x20-\x7e]/.test(type) ? "" : type.toLowerCase();
    }
    static content = (blob) => blob.#bytes;
    get size() {
      return this.#bytes.length;
    }
    get type() {
      return this.#type;
    }
    slice(start = 0, end = this.size, type = "") {
      return new Blob([this.#bytes.slice(start, end)], { type });
    }
    async text() {
      return new TextDecoder().decode(this.#bytes);
    }
    async arrayBuffer() {
      return this.#bytes.slice().buffer;
    }
    async bytes() {
      return this.#bytes.slice();
    }
    stream() {
      return streamOf(this.#bytes);
    }
  }
  const { content: blobBytes } = Blob;
  delete Blob.content;

  class File extends Blob {
    #name;
    #time;
    constructor(parts, name, options = undefined) {
      if (arguments.length < 2) throw new TypeError("a file has parts and a name");
      super(parts, options);
      this.#name = String(name);
      this.#time = Number(options?.lastModified ?? Date.now());
    }
    get name() {
      return this.#name;
    }
    get lastModified() {
      return this.#time;
    }
  }

  class FormData {
    #all = [];
    constructor(form = undefined) {
      if (form !== undefined) throw new TypeError("there are no forms under glass: append what it holds");
    }
    static #value(value, file) {
      if (!(value instanceof Blob)) return String(value);
      if (value instanceof File && file === undefined) return value;
      return new File([value], file ?? "blob", { type: value.type });
    }
    append(name, value, file = undefined) {
      this.#all.push([String(name), FormData.#value(value, file)]);
    }
    set(name, value, file = undefined) {
      const key = String(name);
      const at = this.#all.findIndex(([one]) => one === key);
      if (at < 0) return this.append(key, value, file);
      this.#all[at] = [key, FormData.#value(value, file)];
      this.#all = this.#all.filter(([one], i) => one !== key || i <= at);
    }
    get(name) {
      return this.#all.find(([one]) => one === String(name))?.[1] ?? null;
    }
    getAll(name) {
      return this.#all.filter(([one]) => one === String(name)).map(([, value]) => value);
    }
    has(name) {
      return this.#all.some(([one]) => one === String(name));
    }
    delete(name) {
      this.#all = this.#all.filter(([one]) => one !== String(name));
    }
    *entries() {
      for (const [name, value] of this.#all) yield [name, value];
    }
    *keys() {
      for (const [name] of this.#all) yield name;
    }
    *values() {
      for (const [, value] of this.#all) yield value;
    }
    forEach(each, self = undefined) {
      for (const [name, value] of this.#all) Reflect.apply(each, self, [value, name, this]);
    }
  }
  for (const Kind of [Headers, FormData]) {
    Object.defineProperty(Kind.prototype, Symbol.iterator, { value: Kind.prototype.entries, writable: true, configurable: true });
  }

  // ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────
  const streamOf = (bytes) =>
    new ReadableStream({
      start: (controller) => {
        if (bytes.length > 0) controller.enqueue(bytes.slice());
        controller.close();
      },
    });
  const typed = (init) => {
    if (typeof init === "string") return "text/plain;charset=UTF-8";
    if (init instanceof URLSearchParams) return "application/x-www-form-urlencoded;charset=UTF-8";
    return init instanceof Blob && init.type !== "" ? init.type : undefined;
  };
  const drained = async (stream) => {
    const parts = [];
    for await (const chunk of stream) parts.push(bytesOf(chunk));
    return joined(parts);
  };

  class Message {
    #body; // bytes, a stream, or null
    #stream = undefined;
    #used = false;
    #headers;
    constructor(body, headers) {
      this.#headers = new Headers(headers);
      if (body instanceof FormData) throw new TypeError("a body of multipart/form-data is made in a step");
      if (body === undefined || body === null) this.#body = null;
      else this.#body = body instanceof ReadableStream ? body : bytesOf(body);
      const type = typed(body);
      if (type !== undefined && !this.#headers.has("content-type")) this.#headers.set("content-type", type);
    }
    static content = (message) => (message.bodyUsed || message.#body instanceof ReadableStream ? undefined : message.#body);
    static copied = (message) => {
      if (message.bodyUsed) throw new TypeError("the body was read already");
      if (!(message.#body instanceof ReadableStream)) return message.#body;
      const [mine, other] = message.#body.tee();
      message.#body = mine;
      return other;
    };
    get headers() {
      return this.#headers;
    }
    get bodyUsed() {
      return this.#used || (this.#stream?.locked ?? false);
    }
    get body() {
      if (this.#body === null) return null;
      return (this.#stream ??= this.#body instanceof ReadableStream ? this.#body : streamOf(this.#body));
    }
    async #read() {
      if (this.bodyUsed) throw new TypeError("the body was read already");
      if (this.#body === null) return new Uint8Array();
      this.#used = true;
      return this.#body instanceof ReadableStream ? await drained(this.#body) : this.#body;
    }
    async text() {
      return new TextDecoder().decode(await this.#read());
    }
    async json() {
      return JSON.parse(await this.text());
    }
    async arrayBuffer() {
      return (await this.#read()).slice().buffer;
    }
    async bytes() {
      return (await this.#read()).slice();
    }
    async blob() {
      return new Blob([await this.#read()], { type: this.#headers.get("content-type") ?? "" });
    }
    async formData() {
      const type = this.#headers.get("content-type") ?? "";
      if (!type.startsWith("application/x-www-form-urlencoded")) throw new TypeError("a body of " + (type || "no type") + " is read as a form in a step");
      const form = new FormData();
      for (const [name, value] of new URLSearchParams(await this.text())) form.append(name, value);
      return form;
    }
  }
  const { content, copied } = Message;
  for (const name of ["content", "copied"]) delete Message[name];

  class Response extends Message {
    #status;
    #text;
    #url;
    constructor(body = null, init = undefined) {
      const { status = 200, statusText = "", headers = undefined } = init ?? {};
      if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError("the status of a response is 200 to 599, not " + String(status));
      if (body !== null && body !== undefined && [204, 205, 304].includes(status)) throw new TypeError("a response of status " + status + " has no body");
      super(body, headers);
      this.#status = status;
      this.#text = String(statusText);
      this.#url = "";
    }
    static json(data, init = undefined) {
      const headers = new Headers(init?.headers);
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
      const text = JSON.stringify(data);
      if (text === undefined) throw new TypeError("this has no form in JSON");
      return new Response(text, { ...init, headers });
    }
    static redirect(url, status = 302) {
      if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError("a redirection has no status " + String(status));
      return new Response(null, { status, headers: { location: new URL(url).href } });
    }
    static of = (form) => {
      const made = new Response(form.body ?? null, form);
      made.#url = String(form.url ?? "");
      return made;
    };
    get status() {
      return this.#status;
    }
    get ok() {
      return this.#status < 300;
    }
    get statusText() {
      return this.#text;
    }
    get url() {
      return this.#url;
    }
    get type() {
      return "default";
    }
    get redirected() {
      return false;
    }
    clone() {
      return Response.#again(this);
    }
    static #again(one) {
      const made = new Response(copied(one), { status: one.#status, statusText: one.#text, headers: one.headers });
      made.#url = one.#url;
      return made;
    }
  }
  const { of: responseOf } = Response;
  delete Response.of;

  class Request extends Message {
    #url;
    #method;
    #signal;
    constructor(input, init = undefined) {
      const from = input instanceof Request ? input : undefined;
      const method = String(init?.method ?? from?.method ?? "GET");
      const upper = method.toUpperCase();
      const body = init?.body ?? (from === undefined || from.bodyUsed ? null : copied(from));
      if (body !== null && (upper === "GET" || upper === "HEAD")) throw new TypeError("a request with " + upper + " has no body");
      super(body, init?.headers ?? from?.headers);
      this.#method = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"].includes(upper) ? upper : method;
      this.#url = from?.url ?? new URL(String(input)).href;
      this.#signal = init?.signal ?? from?.signal ?? new AbortController().signal;
    }
    get url() {
      return this.#url;
    }
    get method() {
      return this.#method;
    }
    get signal() {
      return this.#signal;
    }
    clone() {
      return new Request(this);
    }
  }

  // ── between a workflow and its steps ──────────────────────────────────────────────────────────────────────────────
  const withBody = (form, message) => {
    const bytes = content(message);
    if (bytes === undefined) return "has a body that was read, or is a stream: pass what was read of it";
    if (bytes !== null) form.body = bytes;
    return form;
  };
  const formOf = (value) => {
    if (value instanceof Headers) return { "~": "headers", entries: [...value] };
    if (value instanceof Response) {
      const { status, statusText, url } = value;
      return withBody({ "~": "response", status, statusText, url, headers: [...value.headers] }, value);
    }
    if (value instanceof Request) {
      return withBody({ "~": "request", method: value.method, url: value.url, headers: [...value.headers] }, value);
    }
    if (value instanceof File) {
      return { "~": "file", name: value.name, type: value.type, lastModified: value.lastModified, bytes: blobBytes(value) };
    }
    if (value instanceof Blob) return { "~": "blob", type: value.type, bytes: blobBytes(value) };
    return value instanceof FormData ? { "~": "form", entries: [...value] } : undefined;
  };
  packers.push(formOf);
  const requestOf = ({ url, method, headers, body }) =>
    new Request(new URL(url, "http://localhost"), { method, headers, body: method === "GET" || method === "HEAD" ? null : body });
  Object.assign(forms, {
    headers: ({ entries }) => new Headers(entries),
    response: responseOf,
    request: requestOf,
    blob: ({ type, bytes }) => new Blob([bytes], { type }),
    file: ({ name, type, lastModified, bytes }) => new File([bytes], name, { type, lastModified }),
    form: ({ entries }) => {
      const form = new FormData();
      for (const [name, value] of entries) form.append(name, value);
      return form;
    },
  });

  const bring = { Headers, Request, Response, Blob, File, FormData };
  for (const [name, Kind] of Object.entries(bring)) {
    tag(Kind.prototype, name);
    expose(Kind.prototype, Object.getOwnPropertyNames(Kind.prototype).filter((one) => one !== "constructor"));
  }
  return bring;
};
