// Brings: ReadableStream WritableStream TransformStream
// Streams by their standard, as far as values go through them: no byte streams, and no transfer. One that a step is to write or
// read is a handle: it has a name and nothing in it.
(own) => {
  "use strict";

  const { expose, tag } = own;
  const refused = (what) => new TypeError(what + ": a stream that a step gives or takes is a handle in the workflow; read and write it in a step");
  const settled = () => {
    const made = Promise.withResolvers();
    made.promise.catch(() => {});
    return made;
  };
  const highWaterMark = (strategy, otherwise) => {
    const mark = strategy?.highWaterMark ?? otherwise;
    if (typeof mark !== "number" || !(mark >= 0)) throw new RangeError("the high water mark of a stream is a number from 0 on");
    return mark;
  };
  const sizeOf = (strategy, chunk) => (typeof strategy?.size === "function" ? +strategy.size(chunk) : 1);

  // ── readable ──────────────────────────────────────────────────────────────────────────────────────────────────────
  const made = new WeakMap(); // stream -> its state
  const stateOf = (stream, what) => {
    const state = made.get(stream);
    if (state === undefined) throw refused(what);
    return state;
  };

  class ReadableState {
    queue = []; size = 0; waiting = []; status = "readable"; error = undefined; reader = null; closing = false; pulling = false; again = false;
    started = false; closed = settled();
    constructor(source, strategy) {
      this.source = source;
      this.strategy = strategy;
      this.mark = highWaterMark(strategy, 1);
    }
    get desired() {
      return this.status === "errored" ? null : this.status === "closed" ? 0 : this.mark - this.size;
    }
    enqueue(chunk) {
      if (this.closing || this.status !== "readable") throw new TypeError("the stream takes nothing more");
      if (this.waiting.length > 0) this.waiting.shift().resolve({ value: chunk, done: false });
      else {
        const size = sizeOf(this.strategy, chunk);
        this.queue.push([chunk, size]);
        this.size += size;
      }
      this.pull();
    }
    close() {
      if (this.closing || this.status !== "readable") throw new TypeError("the stream is closed already");
      this.closing = true;
      if (this.queue.length === 0) this.end();
    }
    end() {
      this.status = "closed";
      for (const one of this.waiting.splice(0)) one.resolve({ value: undefined, done: true });
      this.closed.resolve();
    }
    fail(error) {
      if (this.status !== "readable") return;
      this.status = "errored";
      this.error = error;
      this.queue = [];
      for (const one of this.waiting.splice(0)) one.reject(error);
      this.closed.reject(error);
    }
    read() {
      if (this.queue.length > 0) {
        const [value, size] = this.queue.shift();
        this.size -= size;
        if (this.closing && this.queue.length === 0) this.end();
        else this.pull();
        return Promise.resolve({ value, done: false });
      }
      if (this.status === "errored") return Promise.reject(this.error);
      if (this.status === "closed") return Promise.resolve({ value: undefined, done: true });
      const one = Promise.withResolvers();
      this.waiting.push(one);
      this.pull();
      return one.promise;
    }
    pull() {
      if (!this.started || this.closing || this.status !== "readable" || typeof this.source.pull !== "function") return;
      if (this.waiting.length === 0 && !(this.mark - this.size > 0)) return;
      if (this.pulling) {
        this.again = true;
        return;
      }
      this.pulling = true;
      const over = () => {
        this.pulling = false;
        if (this.again) {
          this.again = false;
          this.pull();
        }
      };
      new Promise((resolve) => resolve(this.source.pull(this.controller))).then(over, (error) => this.fail(error));
    }
    async cancel(reason) {
      if (this.status === "errored") throw this.error;
      if (this.status === "closed") return;
      this.queue = [];
      this.end();
      await this.source.cancel?.(reason);
    }
  }

  class ReadableStreamDefaultController {
    #state;
    constructor(state) {
      this.#state = state;
    }
    get desiredSize() {
      return this.#state.desired;
    }
    enqueue(chunk) {
      this.#state.enqueue(chunk);
    }
    close() {
      this.#state.close();
    }
    error(error) {
      this.#state.fail(error);
    }
  }

  class ReadableStreamDefaultReader {
    #state;
    constructor(stream) {
      const state = stateOf(stream, "getReader");
      if (state.reader !== null) throw new TypeError("the stream has a reader already");
      this.#state = state;
      state.reader = this;
    }
    #held() {
      if (this.#state === undefined) throw new TypeError("the reader was released");
      return this.#state;
    }
    async read() {
      return await this.#held().read();
    }
    async cancel(reason) {
      await this.#held().cancel(reason);
    }
    get closed() {
      return this.#state === undefined ? Promise.reject(new TypeError("the reader was released")) : this.#state.closed.promise;
    }
    releaseLock() {
      if (this.#state === undefined) return;
      for (const one of this.#state.waiting.splice(0)) one.reject(new TypeError("the reader was released"));
      this.#state.reader = null;
      this.#state = undefined;
    }
  }

  class ReadableStream {
    constructor(source = {}, strategy = {}) {
      if (source?.type !== undefined) throw new RangeError("a stream of type \"" + String(source.type) + "\" is not there under glass");
      const state = new ReadableState(source ?? {}, strategy);
      state.controller = new ReadableStreamDefaultController(state);
      made.set(this, state);
      const begun = state.source.start?.(state.controller);
      const go = () => {
        state.started = true;
        state.pull();
      };
      Promise.resolve(begun).then(go, (error) => state.fail(error));
    }
    static from(items) {
      const iterator = items[Symbol.asyncIterator]?.() ?? items[Symbol.iterator]();
      return new ReadableStream({
        async pull(controller) {
          const { value, done } = await iterator.next();
          if (done) controller.close();
          else controller.enqueue(await value);
        },
        cancel: (reason) => iterator.return?.(reason),
      }, { highWaterMark: 0 });
    }
    get locked() {
      return (made.get(this)?.reader ?? null) !== null;
    }
    getReader(options = undefined) {
      if (options?.mode !== undefined) throw new TypeError("byte readers are not there under glass");
      return new ReadableStreamDefaultReader(this);
    }
    async cancel(reason) {
      const state = stateOf(this, "cancel");
      if (state.reader !== null) throw new TypeError("the stream is locked to a reader");
      await state.cancel(reason);
    }
    async *values({ preventCancel = false } = {}) {
      const reader = this.getReader();
      let over = false;
      try {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) {
            over = true;
            return;
          }
          yield value;
        }
      } catch (error) {
        over = true;
        throw error;
      } finally {
        const ended = over || preventCancel ? undefined : reader.cancel();
        reader.releaseLock();
        await ended;
      }
    }
    async pipeTo(target, { preventClose = false, preventAbort = false, preventCancel = false, signal } = {}) {
      const reader = this.getReader();
      const writer = target.getWriter();
      try {
        for (;;) {
          signal?.throwIfAborted();
          await writer.ready;
          const { value, done } = await reader.read();
          if (done) break;
          await writer.write(value);
        }
        if (!preventClose) await writer.close();
      } catch (error) {
        if (!preventAbort) await writer.abort(error).catch(() => {});
        if (!preventCancel) await reader.cancel(error).catch(() => {});
        throw error;
      } finally {
        reader.releaseLock();
        writer.releaseLock();
      }
    }
    pipeThrough({ readable, writable }, options = undefined) {
      this.pipeTo(writable, options).catch(() => {});
      return readable;
    }
    tee() {
      const reader = this.getReader();
      const controllers = [];
      let asked;
      const pull = () => (asked ??= reader.read().then(({ value, done }) => {
        asked = undefined;
        for (const controller of controllers) if (done) controller.close();
        else controller.enqueue(value);
      }, (error) => controllers.forEach((controller) => controller.error(error))));
      const branch = () => new ReadableStream({ start: (controller) => void controllers.push(controller), pull });
      return [branch(), branch()];
    }
  }
  Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, {
    value: ReadableStream.prototype.values, writable: true, configurable: true,
  });

  // ── writable ──────────────────────────────────────────────────────────────────────────────────────────────────────
  class WritableState {
    queue = Promise.resolve(); size = 0; status = "writable"; error = undefined; writer = null; closed = settled(); ready = settled();
    constructor(sink, strategy) {
      this.sink = sink;
      this.strategy = strategy;
      this.mark = highWaterMark(strategy, 1);
      this.aborter = new AbortController();
      const signal = this.aborter.signal;
      this.controller = { signal, error: (error) => this.fail(error) };
      this.ready.resolve();
      this.queue = this.queue.then(() => sink.start?.(this.controller)).catch((error) => this.fail(error));
    }
    get desired() {
      return this.status === "errored" ? null : this.status === "closed" ? 0 : this.mark - this.size;
    }
    fail(error) {
      if (this.status === "errored" || this.status === "closed") return;
      this.status = "errored";
      this.error = error;
      this.closed.reject(error);
      this.ready = settled();
      this.ready.reject(error);
    }
    check() {
      if (this.status === "errored") throw this.error;
      if (this.status !== "writable") throw new TypeError("the stream is closed, or closing");
    }
    async write(chunk) {
      this.check();
      const size = sizeOf(this.strategy, chunk);
      this.size += size;
      if (!(this.mark - this.size > 0)) this.ready = settled();
      const done = this.queue.then(async () => {
        if (this.status === "errored") throw this.error;
        await this.sink.write?.(chunk, this.controller);
      });
      this.queue = done.then(() => {
        this.size -= size;
        if (this.status === "writable" && this.mark - this.size > 0) this.ready.resolve();
      }, (error) => this.fail(error));
      await done;
    }
    async close() {
      this.check();
      this.status = "closing";
      await this.queue;
      if (this.status === "errored") throw this.error;
      try {
        await this.sink.close?.();
      } catch (error) {
        this.fail(error);
        throw error;
      }
      this.status = "closed";
      this.closed.resolve();
    }
    async abort(reason) {
      if (this.status === "errored" || this.status === "closed") return;
      this.fail(reason);
      this.aborter.abort(reason);
      await this.sink.abort?.(reason);
    }
  }

  class WritableStreamDefaultWriter {
    #state;
    constructor(stream) {
      const state = stateOf(stream, "getWriter");
      if (state.writer !== null) throw new TypeError("the stream has a writer already");
      this.#state = state;
      state.writer = this;
    }
    #held() {
      if (this.#state === undefined) throw new TypeError("the writer was released");
      return this.#state;
    }
    async write(chunk) {
      await this.#held().write(chunk);
    }
    async close() {
      await this.#held().close();
    }
    async abort(reason) {
      await this.#held().abort(reason);
    }
    get closed() {
      return this.#held().closed.promise;
    }
    get ready() {
      return this.#held().ready.promise;
    }
    get desiredSize() {
      return this.#held().desired;
    }
    releaseLock() {
      if (this.#state === undefined) return;
      this.#state.writer = null;
      this.#state = undefined;
    }
  }

  class WritableStream {
    constructor(sink = {}, strategy = {}) {
      made.set(this, new WritableState(sink ?? {}, strategy));
    }
    get locked() {
      return (made.get(this)?.writer ?? null) !== null;
    }
    getWriter() {
      return new WritableStreamDefaultWriter(this);
    }
    async close() {
      const state = stateOf(this, "close");
      if (state.writer !== null) throw new TypeError("the stream is locked to a writer");
      await state.close();
    }
    async abort(reason) {
      const state = stateOf(this, "abort");
      if (state.writer !== null) throw new TypeError("the stream is locked to a writer");
      await state.abort(reason);
    }
  }

  class TransformStream {
    #readable;
    #writable;
    constructor(transformer = {}, writableStrategy = {}, readableStrategy = {}) {
      let [out, room] = [undefined, settled()];
      const controller = {
        get desiredSize() {
          return out.desiredSize;
        },
        enqueue: (chunk) => out.enqueue(chunk),
        error: (error) => out.error(error),
        terminate: () => out.close(),
      };
      this.#readable = new ReadableStream({
        start: (made) => {
          out = made;
        },
        pull: () => room.resolve(),
      }, { highWaterMark: 0, ...readableStrategy });
      this.#writable = new WritableStream({
        start: () => transformer.start?.(controller),
        write: async (chunk) => {
          if (!(out.desiredSize > 0)) {
            await room.promise;
            room = settled();
          }
          try {
            if (typeof transformer.transform === "function") await transformer.transform(chunk, controller);
            else controller.enqueue(chunk);
          } catch (error) {
            out.error(error);
            throw error;
          }
        },
        close: async () => {
          await transformer.flush?.(controller);
          try {
            out.close();
          } catch { /* it was terminated */ }
        },
        abort: (reason) => out.error(reason),
      }, writableStrategy);
    }
    get readable() {
      return this.#readable;
    }
    get writable() {
      return this.#writable;
    }
  }

  for (const Kind of [ReadableStream, WritableStream, TransformStream]) tag(Kind.prototype, Kind.name);
  expose(ReadableStream.prototype, ["locked", "getReader", "cancel", "pipeTo", "pipeThrough", "tee", "values"]);
  expose(WritableStream.prototype, ["locked", "getWriter", "close", "abort"]);
  own.packers.push((value) =>
    value instanceof ReadableStream || value instanceof WritableStream || value instanceof TransformStream
      ? "is a stream that was made in the workflow: make it in a step, or pass getWritable()"
      : undefined);
  return { ReadableStream, WritableStream, TransformStream };
};
