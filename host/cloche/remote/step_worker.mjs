// A worker for remote steps in JavaScript, without dependencies: Node 18 or newer. The protocol is in
// docs/operations/remote-steps.md.
//
//   import { StepWorker } from "./step_worker.mjs";
//   const worker = new StepWorker("http://127.0.0.1:4700", { resize: async (input, ctx) => ({ width: input.width }) });
//   process.on("SIGTERM", () => worker.stop());
//   await worker.run();

const WAIT_S = 20; // of one poll
const AGAIN_MS = 200; // until a server that did not answer is asked again; twice as long each time
const AGAIN_MS_MAX = 5000;
const BEATS = 3; // heartbeats in the time after which a worker is taken for dead

/** Thrown by a step: no attempt follows, whatever the step's retries say. */
export class FatalError extends Error {}

/** What `ctx.suspend` throws. */
class Suspension {
  constructor(payload, labels) {
    this.payload = payload;
    this.labels = labels;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class StepWorker {
  /**
   * @param {string} url of the server.
   * @param {Object<string, function>} steps by their ids: `(input, ctx) => output`, async or not.
   * @param {{token?: string, concurrency?: number, name?: string}} options `token`: one of the role `worker`.
   */
  constructor(url, steps, { token, concurrency = 10, name = `node-${process.pid}` } = {}) {
    this.url = url.replace(/\/$/, "");
    this.steps = steps;
    this.name = name;
    this.concurrency = concurrency;
    this.headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
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

  async outcome(attempt, signal) {
    const state = {};
    const ctx = {
      ...attempt,
      token: undefined,
      signal,
      setState: (patch) => Object.assign(state, patch),
      write: (value) => this.say(attempt, "progress", { value, key: crypto.randomUUID() }),
      suspend: (payload = null, labels = []) => {
        throw new Suspension(payload, labels);
      },
    };
    try {
      const work = Promise.resolve(this.steps[attempt.step](attempt.input, ctx));
      return ["complete", { output: (await work) ?? null, state }];
    } catch (error) {
      if (error instanceof Suspension) return ["suspend", { payload: error.payload, labels: error.labels, state }];
      return ["fail", raised(error)];
    }
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

function raised(error) {
  const is = error instanceof Error;
  return {
    error: { name: String(is ? error.name : "Error").slice(0, 200), message: String(is ? error.message : error).slice(0, 8192) },
    is_retryable: !(error instanceof FatalError),
  };
}
