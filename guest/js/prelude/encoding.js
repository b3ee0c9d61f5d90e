// Texts as bytes and back: TextEncoder and TextDecoder, for UTF-8 and UTF-16.
(cloche) => {
  "use strict";

  const { encodeText, decodeText } = cloche;
  const { unbound, define, expose, tag, getterOf } = cloche.own;
  const { isView } = ArrayBuffer;
  const { getPrototypeOf } = Object;
  const [TypeErrorOf, RangeErrorOf, StringOf, Bytes, View, Buffer] = [TypeError, RangeError, String, Uint8Array, DataView, ArrayBuffer];
  const [toLowerCase, trim, codeAt] = [String.prototype.toLowerCase, String.prototype.trim, String.prototype.charCodeAt].map((method) =>
    unbound(method),
  );
  const Typed = getPrototypeOf(Bytes.prototype);
  const [typedBuffer, typedOffset, typedSize] = ["buffer", "byteOffset", "byteLength"].map((name) => getterOf(Typed, name));
  const [viewBuffer, viewOffset, viewSize] = ["buffer", "byteOffset", "byteLength"].map((name) => getterOf(View.prototype, name));
  const setBytes = unbound(Typed.set);

  // The bytes of an ArrayBuffer or of what looks into one, not copied.
  const bytesOf = (value, name = "decode") => {
    if (value === undefined) return new Bytes(0);
    if (isView(value)) {
      return value instanceof View
        ? new Bytes(viewBuffer(value), viewOffset(value), viewSize(value))
        : new Bytes(typedBuffer(value), typedOffset(value), typedSize(value));
    }
    if (value instanceof Buffer) return new Bytes(value);
    throw new TypeErrorOf(name + " takes an ArrayBuffer or a view of one");
  };
  cloche.own.bytesOf = bytesOf;

  class TextEncoder {
    get encoding() {
      return "utf-8";
    }
    encode(text = "") {
      return encodeText(StringOf(text));
    }
    encodeInto(source, destination) {
      if (!(destination instanceof Bytes)) throw new TypeErrorOf("encodeInto takes a Uint8Array");
      const text = StringOf(source);
      const room = typedSize(destination);
      let read = 0;
      let written = 0;
      while (read < text.length) {
        const unit = codeAt(text, read);
        const next = read + 1 < text.length ? codeAt(text, read + 1) : 0;
        const isPair = unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000;
        const size = unit < 0x80 ? 1 : unit < 0x800 ? 2 : isPair ? 4 : 3;
        if (written + size > room) break;
        written += size;
        read += isPair ? 2 : 1;
      }
      setBytes(destination, encodeText(sliced(text, 0, read)));
      return { read, written };
    }
  }
  const sliced = unbound(String.prototype.slice);

  const LABELS = { __proto__: null };
  const UTF8 = ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];
  for (let i = 0; i < UTF8.length; i++) LABELS[UTF8[i]] = "utf-8";
  const UTF16 = ["utf-16le", "utf-16", "ucs-2", "iso-10646-ucs-2", "csunicode", "unicode", "unicodefeff"];
  for (let i = 0; i < UTF16.length; i++) LABELS[UTF16[i]] = "utf-16le";
  LABELS["utf-16be"] = LABELS["unicodefffe"] = "utf-16be";
  const KINDS = { __proto__: null, "utf-8": 0, "utf-16le": 1, "utf-16be": 2 };

  // How many bytes at the end begin a character, and do not end it.
  const beginning = (bytes, kind) => {
    const size = typedSize(bytes);
    if (kind !== 0) {
      const odd = size % 2;
      if (size < 2 + odd) return odd;
      const high = bytes[kind === 1 ? size - odd - 1 : size - odd - 2];
      return odd + (high >= 0xd8 && high < 0xdc ? 2 : 0);
    }
    for (let back = 1; back <= 3 && back <= size; back++) {
      const byte = bytes[size - back];
      if (byte >= 0xc0) {
        const wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
        return byte > 0xf4 || byte < 0xc2 || wanted <= back || !mayFollow(byte, back > 1 ? bytes[size - back + 1] : undefined) ? 0 : back;
      }
      if (byte < 0x80) return 0;
    }
    return 0;
  };
  const mayFollow = (lead, second) =>
    second === undefined || (second >= (lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80) && second <= (lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf));

  class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBOM;
    #pending = null; // the bytes of a character whose end has not come
    #begun = false; // is what comes next no longer the first of a text?
    constructor(label = "utf-8", options = undefined) {
      const name = LABELS[toLowerCase(trim(StringOf(label)))];
      if (name === undefined) throw new RangeErrorOf("there is no encoding '" + StringOf(label) + "' here, only utf-8 and utf-16");
      this.#encoding = name;
      this.#fatal = !!options?.fatal;
      this.#ignoreBOM = !!options?.ignoreBOM;
    }
    get encoding() {
      return this.#encoding;
    }
    get fatal() {
      return this.#fatal;
    }
    get ignoreBOM() {
      return this.#ignoreBOM;
    }
    decode(input = undefined, options = undefined) {
      const goesOn = !!options?.stream;
      const kind = KINDS[this.#encoding];
      let bytes = bytesOf(input);
      const pending = this.#pending;
      if (pending !== null) {
        const joined = new Bytes(typedSize(pending) + typedSize(bytes));
        setBytes(joined, pending);
        setBytes(joined, bytes, typedSize(pending));
        bytes = joined;
        this.#pending = null;
      }
      const left = goesOn ? beginning(bytes, kind) : 0;
      const size = typedSize(bytes);
      if (left > 0) {
        this.#pending = new Bytes(left);
        setBytes(this.#pending, new Bytes(typedBuffer(bytes), typedOffset(bytes) + size - left, left));
        bytes = new Bytes(typedBuffer(bytes), typedOffset(bytes), size - left);
      }
      const begun = this.#begun;
      this.#begun = goesOn && (begun || size > left);
      const text = decodeText(bytes, kind, this.#fatal);
      return !begun && !this.#ignoreBOM && text.length > 0 && codeAt(text, 0) === 0xfeff ? sliced(text, 1) : text;
    }
  }
  expose(TextEncoder.prototype, ["encoding", "encode", "encodeInto"]);
  expose(TextDecoder.prototype, ["encoding", "fatal", "ignoreBOM", "decode"]);
  tag(TextEncoder.prototype, "TextEncoder");
  tag(TextDecoder.prototype, "TextDecoder");
  define("TextEncoder", TextEncoder);
  define("TextDecoder", TextDecoder);
}
