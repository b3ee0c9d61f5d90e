// A worker for remote steps in JavaScript, without dependencies: Node 18 or newer. The protocol is in
// docs/operations/remote-steps.md.
//
//   import { StepWorker } from "./step_worker.mjs";
//   const worker = new StepWorker("http://127.0.0.1:4700", { resize: async (input, ctx) => ({ width: input.width }) });
//   process.on("SIGTERM", () => worker.stop());
//   await worker.run();

// Attempts that a server pushes are taken by a StepReceiver:
//
//   const receiver = new StepReceiver({ resize: async (input, ctx) => … }, process.env.SECRET, { url: "http://127.0.0.1:4700" });
//   http.createServer(receiver.handler).listen(8080);

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

const WAIT_S = 20; // of one poll
const AGAIN_MS = 200; // until a server that did not answer is asked again; twice as long each time
const AGAIN_MS_MAX = 5000;
const BEATS = 3; // heartbeats in the time after which a worker is taken for dead

/** Thrown by a step: no attempt follows, whatever the step's retries say. */
export class FatalError extends Error {}

/** What a step may return in the place of its output: how its attempt ends, as the protocol has it. */
export class End {
  constructor(what, body) {
    this.what = what;
    this.body = body;
  }
}

/** What `ctx.suspend` throws. */
class Suspension {
  constructor(payload, labels) {
    this.payload = payload;
    this.labels = labels;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Performs attempts, and says what came of them. */
class Performer {
  constructor(steps, url, token) {
    this.steps = steps;
    this.url = url?.replace(/\/$/, "");
    this.headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  }

  async ask(place, body, signal) {
    const answer = await fetch(`${this.url}/v1/steps/${place}`, {
      method: "POST",
      headers: this.headers,
      body: JSON.stringify(body),
      signal,
    });
    const text = await answer.text();
    return { status: answer.status, data: text ? JSON.parse(text) : {} };
  }

  async outcome(attempt, signal) {
    const state = {};
    const ctx = {
      ...attempt,
      token: undefined,
      signal,
      setState: (patch) => Object.assign(state, patch),
      write: (value) => ctx.tell({ value }),
      tell: async (body) => {
        this.#checkServer();
        await this.say(attempt, "progress", { ...body, key: randomUUID() });
      },
      look: async (body) => {
        this.#checkServer();
        const { status, data } = await this.ask(`${encodeURIComponent(attempt.token)}/look`, body);
        if (status !== 200) throw new Error(data.detail);
        return data;
      },
      suspend: (payload = null, labels = []) => {
        throw new Suspension(payload, labels);
      },
    };
    try {
      const work = Promise.resolve(this.steps[attempt.step](attempt.input, ctx));
      const output = await work;
      return output instanceof End ? [output.what, output.body] : ["complete", { output: output ?? null, state }];
    } catch (error) {
      if (error instanceof Suspension) return ["suspend", { payload: error.payload, labels: error.labels, state }];
      return ["fail", raised(error)];
    }
  }

  #checkServer() {
    if (!this.url) throw new Error("a receiver that was given no url cannot tell the server anything");
  }

  /** Whether the attempt is wanted, as far as the server says; if not, its step is told to abort. */
  async beat(attempt, aborting) {
    try {
      const { status, data } = await this.ask(`${encodeURIComponent(attempt.token)}/heartbeat`, {});
      if (status === 200 && data.is_canceled) aborting.abort();
      return status === 200 && !data.is_canceled;
    } catch {
      return false;
    }
  }

  /** Until the server has answered. What it refuses is a failure of the step; if it refuses that, nobody waits for it. */
  async say(attempt, what, body) {
    for (let wait = AGAIN_MS; ; wait = Math.min(2 * wait, AGAIN_MS_MAX)) {
      try {
        const { status, data } = await this.ask(`${encodeURIComponent(attempt.token)}/${what}`, body);
        if (status < 400) return;
        if (status < 500 && status !== 429) {
          if (what === "complete" || what === "suspend") {
            await this.say(attempt, "fail", { error: { name: "Refused", message: data.detail ?? "" }, is_retryable: false });
          }
          return;
        }
      } catch {
        // It did not answer: it is told again, and takes an end once.
      }
      await pause(wait);
    }
  }
}

export class StepWorker extends Performer {
  /**
   * @param {string} url of the server.
   * @param {Object<string, function>} steps by their ids: `(input, ctx) => output`, async or not.
   * @param {{token?: string, concurrency?: number, name?: string}} options `token`: one of the role `worker`.
   */
  constructor(url, steps, { token, concurrency = 10, name = `node-${process.pid}` } = {}) {
    super(steps, url, token);
    this.name = name;
    this.concurrency = concurrency;
    this.underWay = new Set();
    this.stopping = new AbortController();
  }

  /** Take nothing more: `run` returns when what is under way has ended, and the server knows of it. */
  stop() {
    this.stopping.abort();
  }

  /** Perform steps until `stop` is called. Rejects where the token does not let in. */
  async run() {
    let wait = AGAIN_MS;
    while (!this.stopping.signal.aborted) {
      const room = this.concurrency - this.underWay.size;
      if (room < 1) {
        await Promise.race(this.underWay);
        continue;
      }
      let found = [];
      try {
        const body = { steps: Object.keys(this.steps), most: Math.min(room, 100), wait_s: WAIT_S, worker: this.name };
        const { status, data } = await this.ask("poll", body, this.stopping.signal);
        if (status === 401 || status === 403) throw new FatalError(data.detail);
        if (status !== 200) throw new Error(data.detail);
        found = data.attempts;
        wait = AGAIN_MS;
      } catch (error) {
        if (error instanceof FatalError) throw error;
        if (this.stopping.signal.aborted) break;
        if (wait === AGAIN_MS) console.error(`the server ${this.url} gives no attempts, and is asked again: ${error.message}`);
        await pause(wait);
        wait = Math.min(2 * wait, AGAIN_MS_MAX);
      }
      for (const attempt of found) {
        const task = this.perform(attempt).finally(() => this.underWay.delete(task));
        this.underWay.add(task);
      }
    }
    await Promise.all(this.underWay);
  }

  async perform(attempt) {
    const aborting = new AbortController();
    // What is at most once begins only when the server has heard that it does.
    if (attempt.at_most_once && !(await this.beat(attempt, aborting))) return;
    const beating = setInterval(() => this.beat(attempt, aborting), (attempt.heartbeat_s * 1000) / BEATS);
    let what, body;
    try {
      [what, body] = await this.outcome(attempt, aborting.signal);
    } finally {
      clearInterval(beating);
    }
    await this.say(attempt, what, body);
  }
}

const BODY_BYTES_MAX = 8 << 20;
const KNOWN_MAX = 1000; // attempts that have ended, and are answered as before when they are pushed again
const TOLERANCE_S = 300;

export class StepReceiver extends Performer {
  /**
   * @param {Object<string, function>} steps as of a StepWorker.
   * @param {string} secret that `cloche webhook put NAME --to URL --steps …` has printed.
   * @param {{url?: string, token?: string, answerWithinMs?: number}} options `url`: of the server, for what takes longer than
   *   `answerWithinMs`; without it everything is answered at once. `token`: one of the role `worker`.
   */
  constructor(steps, secret, { url, token, answerWithinMs = 10_000 } = {}) {
    super(steps, url, token);
    this.key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    this.within = answerWithinMs;
    this.known = new Map(); // by the id of the push, the oldest first
    this.open = new Set(); // requests that were not answered yet
    this.handler = (request, response) => {
      const one = this.take(request, response).finally(() => this.open.delete(one));
      this.open.add(one);
    };
  }

  /** What was begun ends, and its server knows of it. */
  async end() {
    await Promise.allSettled([...this.known.values()].map((one) => one.work));
    await Promise.allSettled(this.open); // one of them may be answered with: later
    await Promise.allSettled([...this.known.values()].map((one) => one.saying));
  }

  async take(request, response) {
    let status, value;
    try {
      [status, value] = await this.answer(request, response);
    } catch (error) {
      [status, value] = [500, { detail: String(error) }];
    }
    if (response.destroyed) return;
    response.writeHead(status, { "Content-Type": "application/json" });
    await new Promise((resolve) => {
      response.once("close", resolve);
      response.end(JSON.stringify(value), resolve);
    });
  }

  async answer(request, response) {
    if (request.method !== "POST") return [405, { detail: "attempts are pushed by POST" }];
    const body = await wholeOf(request);
    if (body === null) return [413, { detail: `a push has up to ${BODY_BYTES_MAX} bytes` }];
    const refusal = this.refusal(request.headers, body);
    if (refusal) return [401, { detail: refusal }];
    const told = JSON.parse(body);
    if (told.type !== "step.attempt" || !Object.hasOwn(this.steps, told.data.step)) {
      return [404, { detail: "this receiver does not have the step" }];
    }
    return this.performed(this.attempt(request.headers["webhook-id"], told.data), response);
  }

  /** Why a push is not taken, by the specification of Standard Webhooks; undefined: it is. */
  refusal(headers, body) {
    const [id, at] = [headers["webhook-id"], headers["webhook-timestamp"]];
    if (!id || !/^\d{1,12}$/.test(at ?? "") || Math.abs(Date.now() / 1000 - Number(at)) > TOLERANCE_S) {
      return "it was not signed just now";
    }
    const made = createHmac("sha256", this.key).update(`${id}.${at}.`).update(body).digest();
    const given = (headers["webhook-signature"] ?? "").split(" ").slice(0, 20);
    const isOne = given.some((one) => {
      const code = Buffer.from(one.replace(/^v1,/, ""), "base64");
      return one.startsWith("v1,") && code.length === made.length && timingSafeEqual(code, made);
    });
    return isOne ? undefined : "its signature is not one of this secret";
  }

  /** The attempt of this push: a new one, or the one that was pushed before. */
  attempt(id, given) {
    let known = this.known.get(id);
    if (!known) {
      known = { given, aborting: new AbortController(), isDone: false };
      known.work = this.outcome(given, known.aborting.signal).then((end) => {
        known.isDone = true;
        return end;
      });
      this.known.set(id, known);
      for (const [old, one] of this.known) {
        if (this.known.size <= KNOWN_MAX) break;
        if (one.isDone) this.known.delete(old);
      }
    }
    return known;
  }

  async performed(known, response) {
    const left = new Promise((resolve) => response.once("close", resolve));
    const waits = [known.work, left];
    if (this.url) waits.push(pause(this.within));
    await Promise.race(waits);
    if (known.isDone) {
      const [what, body] = await known.work;
      return [200, { [what]: body }];
    }
    if (!this.url) {
      known.aborting.abort(); // the connection was closed: nobody can be told any more
      return [499, {}];
    }
    known.saying ??= this.sayLater(known);
    return [202, {}];
  }

  async sayLater(known) {
    const beating = setInterval(() => this.beat(known.given, known.aborting), (known.given.heartbeat_s * 1000) / BEATS);
    let what, body;
    try {
      [what, body] = await known.work;
    } finally {
      clearInterval(beating);
    }
    await this.say(known.given, what, body);
  }
}

/** The body of a request; null: it is too large. */
async function wholeOf(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    parts.push(part);
    size += part.length;
    if (size > BODY_BYTES_MAX) return null;
  }
  return Buffer.concat(parts);
}

function raised(error) {
  const is = error instanceof Error;
  return {
    error: { name: String(is ? error.name : "Error").slice(0, 200), message: String(is ? error.message : error).slice(0, 8192) },
    is_retryable: !(error instanceof FatalError),
  };
}
